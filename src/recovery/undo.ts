/** Takes back what a recovery did: its VM, the original's new name, its session. May be run again after it died. */
import { setTimeout as sleep } from "node:timers/promises";
import type { RecoveryRecord } from "./records.js";
import { recoveredVm, restoreOriginal } from "./steps.js";
import type { EndedSession, SessionEnd, World } from "./world.js";

const CLOSE_MS = 10_000;
const STEP_MS = 100;

/** @param hostGone there is no host any more on which something could be undone */
export const undo = async (record: RecoveryRecord, world: World, hostGone = false): Promise<void> => {
	world.records.save({ ...record, phase: "undoing" });
	// What it was doing says what may be half done.
	if (!hostGone) await undoOnHost(record, world);
	await endSession(record, world);
	world.records.remove(record.session);
};

const undoOnHost = async (record: RecoveryRecord, world: World): Promise<void> => {
	const host = await world.host(record.host).open();
	const vm = await recoveredVm(record, host);
	if (vm !== undefined) {
		if (vm.state !== "off") await host.power(vm.id, "off");
		await host.unregister(vm.id);
	} else if (record.phase === "registering" || record.phase === "undoing") await host.cleanUp();
	if (record.replaced !== null) await restoreOriginal(record.replaced, world, record.replaced.wasRunning);
};

/** One that we made goes (what a guest wrote already, to the trash); one that was there is as it was. */
const endSession = async ({ session, madeSession, wasServed }: RecoveryRecord, world: World): Promise<void> => {
	const known = (await world.serving.sessions()).find((one) => one.session === session);
	if (known === undefined || (!madeSession && (wasServed || known.state === "parked"))) return;
	const how = !madeSession ? "keep" : known.lastWrite === null ? "unwritten" : "discard";
	await endWhenLeft(session, how, world);
};

/** QEMU has closed its disks before the mount process has noticed. */
export const endWhenLeft = async (session: string, how: SessionEnd, world: World): Promise<EndedSession> => {
	for (let waited = 0; ; waited += STEP_MS) {
		try {
			return await world.serving.end(session, how);
		} catch (error) {
			if ((error as { code?: string }).code !== "IN_USE" || waited >= CLOSE_MS) throw error;
			await sleep(STEP_MS);
		}
	}
};
