/**
 * What the QEMU guest agent tells and does (docs/interop/qemu-ga-ref of QEMU), over whatever carries its commands. What
 * it says comes from the guest and is not trusted.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { GuestResult } from "./contract.js";
import { HypervisorError } from "./errors.js";

/** Sends one command, and resolves with what it returns. @param ms to wait at most; default: the driver's */
export type AgentCall = <T = unknown>(command: string, args?: object, ms?: number) => Promise<T>;

const RUN_MS = 60_000;
/** What a guest may make us keep of a program's output. */
const OUTPUT_BYTES = 16 * 1024 * 1024;

interface Interface {
	"ip-addresses"?: { "ip-address"?: unknown }[];
}

/** Loopback and link-local ones left out. */
export const agentAddresses = async (call: AgentCall): Promise<string[]> =>
	(await call<Interface[]>("guest-network-get-interfaces"))
		.flatMap((one) => one["ip-addresses"] ?? [])
		.map((address) => String(address["ip-address"]))
		.filter((address) => !/^(127\.|::1$|fe80:|169\.254\.)/i.test(address));

interface ExecStatus {
	exited: boolean;
	exitcode?: number;
	signal?: number;
	"out-data"?: string;
	"err-data"?: string;
}

/** `vm` is for messages. Rejects with TIMEOUT when the program still runs after `timeoutMs`. */
export const agentRun = async (
	call: AgentCall,
	vm: string,
	program: string,
	args: string[],
	timeoutMs = RUN_MS,
): Promise<GuestResult> => {
	const until = Date.now() + timeoutMs;
	const { pid } = await call<{ pid: number }>("guest-exec", { path: program, arg: args, "capture-output": true });
	for (let pause = 20; ; pause = Math.min(pause * 2, 500)) {
		const status = await call<ExecStatus>("guest-exec-status", { pid });
		if (status.exited) {
			const output = (data = ""): string => Buffer.from(data.slice(0, OUTPUT_BYTES), "base64").toString("utf8");
			return {
				code: status.exitcode ?? 128 + (status.signal ?? 0),
				stdout: output(status["out-data"]),
				stderr: output(status["err-data"]),
			};
		}
		if (Date.now() > until)
			throw new HypervisorError("TIMEOUT", `VM ${vm}: ${program} still runs in the guest after ${timeoutMs} ms`);
		await sleep(pause);
	}
};
