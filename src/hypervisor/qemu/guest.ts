/** What the guest's agent tells and does: sign of life, addresses, programs. */
import { setTimeout as sleep } from "node:timers/promises";
import type { GuestResult } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { GuestAgent } from "./agent.js";
import type { Vm } from "./vm.js";

const RUN_MS = 60_000;
/** What a guest may make us keep of a program's output. */
const OUTPUT_BYTES = 16 * 1024 * 1024;

const withAgent = async <T>(vm: Vm, work: (agent: GuestAgent) => Promise<T>): Promise<T> => {
	const agent = await GuestAgent.connect(vm.places.agent);
	try {
		return await work(agent);
	} catch (error) {
		if (error instanceof HypervisorError) throw error;
		throw new HypervisorError("FAILED", `VM ${vm.name}: the guest's agent refuses: ${causeOf(error)}`);
	} finally {
		agent.close();
	}
};

export const heartbeat = async (vm: Vm): Promise<boolean> => {
	try {
		await withAgent(vm, (agent) => agent.call("guest-ping"));
		return true;
	} catch {
		return false;
	}
};

interface Interface {
	name?: unknown;
	"ip-addresses"?: { "ip-address"?: unknown }[];
}

export const addresses = (vm: Vm): Promise<string[]> =>
	withAgent(vm, async (agent) => {
		const interfaces = await agent.call<Interface[]>("guest-network-get-interfaces");
		return interfaces
			.flatMap((one) => one["ip-addresses"] ?? [])
			.map((address) => String(address["ip-address"]))
			.filter((address) => !/^(127\.|::1$|fe80:|169\.254\.)/i.test(address));
	});

interface ExecStatus {
	exited: boolean;
	exitcode?: number;
	signal?: number;
	"out-data"?: string;
	"err-data"?: string;
}

export const runInGuest = (vm: Vm, program: string, args: string[], timeoutMs = RUN_MS): Promise<GuestResult> =>
	withAgent(vm, async (agent) => {
		const until = Date.now() + timeoutMs;
		const { pid } = await agent.call<{ pid: number }>("guest-exec", {
			path: program,
			arg: args,
			"capture-output": true,
		});
		for (let pause = 20; ; pause = Math.min(pause * 2, 500)) {
			const status = await agent.call<ExecStatus>("guest-exec-status", { pid });
			if (status.exited) {
				const output = (data = ""): string => Buffer.from(data.slice(0, OUTPUT_BYTES), "base64").toString("utf8");
				return {
					code: status.exitcode ?? 128 + (status.signal ?? 0),
					stdout: output(status["out-data"]),
					stderr: output(status["err-data"]),
				};
			}
			if (Date.now() > until)
				throw new HypervisorError("TIMEOUT", `VM ${vm.name}: ${program} still runs in the guest after ${timeoutMs} ms`);
			await sleep(pause);
		}
	});
