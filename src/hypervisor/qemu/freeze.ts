/** The guest's file systems at rest for a moment: bounded, and always undone. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { causeOf, HypervisorError } from "../errors.js";
import type { AgentCall } from "../guest-agent.js";
import { type Rest, withApplications } from "../vss.js";
import { GuestAgent } from "./agent.js";
import type { Vm } from "./vm.js";

const THAW_MS = 10_000;

export type { Rest };

/** Says that the guest may be frozen, should we be killed. */
const note = (vm: Vm): string => join(vm.places.own, "frozen");

/** Does `work` while the guest rests, or without when it does not come to rest in time. */
export const atRest = async (vm: Vm, freezeMs: number, work: () => Promise<void>): Promise<Rest> => {
	try {
		(await GuestAgent.connect(vm.places.agent)).close();
	} catch (error) {
		await work();
		return { consistency: "crash", why: causeOf(error), frozenMs: 0 };
	}
	// Each call on a connection of its own: an answer that comes too late is nobody else's.
	const call: AgentCall = async (command, args, ms) => {
		const agent = await GuestAgent.connect(vm.places.agent);
		try {
			return await agent.call(command, args, ms);
		} finally {
			agent.close();
		}
	};
	return withApplications(call, vm.name, () => whileFrozen(vm, freezeMs, work));
};

const whileFrozen = async (vm: Vm, ms: number, work: () => Promise<void>): Promise<Rest> => {
	let agent: GuestAgent;
	try {
		agent = await GuestAgent.connect(vm.places.agent);
	} catch (error) {
		await work();
		return { consistency: "crash", why: causeOf(error), frozenMs: 0 };
	}
	mkdirSync(vm.places.own, { recursive: true, mode: 0o700 });
	writeFileSync(note(vm), "");
	const began = Date.now();
	let count = 0;
	let why: string | null = null;
	try {
		try {
			count = Number(await agent.call<number>("guest-fsfreeze-freeze", {}, ms));
			if (count === 0) why = "the guest froze no file system";
		} catch (error) {
			why = `the guest could not be frozen within ${ms} ms: ${causeOf(error)}`;
			// Should it come to rest after all, it must not stay so: the agent does this next.
			agent.send("guest-fsfreeze-thaw");
		}
		await work();
	} finally {
		if (count > 0 && (await thaw(vm, agent)) === 0) why = "the guest ended its rest by itself before the snapshot";
		agent.close();
		if (count > 0 || why === null) rmSync(note(vm), { force: true });
	}
	const frozenMs = count > 0 ? Date.now() - began : 0;
	return { consistency: why === null ? "filesystem" : "crash", why, frozenMs };
};

/** Rejects with FAILED when the guest cannot be told: somebody must look. */
const thaw = async (vm: Vm, first: GuestAgent): Promise<number> => {
	let agent = first;
	for (let tries = 0; ; tries++) {
		try {
			return Number(await agent.call<number>("guest-fsfreeze-thaw", {}, THAW_MS));
		} catch (error) {
			if (agent !== first) agent.close();
			if (tries === 2)
				throw new HypervisorError(
					"FAILED",
					`VM ${vm.name}: its file systems may still be frozen: ${causeOf(error)}: run "fsfreeze -u" in the guest, or reset it`,
				);
			agent = await GuestAgent.connect(vm.places.agent).catch(() => first);
		}
	}
};

/** After a crash of ours: thaws a guest that may be frozen. True when it was. Nobody else may have the VM now. */
export const thawLeftover = async (vm: Vm): Promise<boolean> => {
	if (!existsSync(note(vm))) return false;
	const agent = await GuestAgent.connect(vm.places.agent).catch(() => undefined);
	try {
		const thawed = Number((await agent?.call<number>("guest-fsfreeze-thaw", {}, THAW_MS)) ?? 0);
		rmSync(note(vm), { force: true });
		return thawed > 0;
	} catch {
		return false;
	} finally {
		agent?.close();
	}
};
