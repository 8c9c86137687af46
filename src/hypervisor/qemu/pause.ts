/** The guest stands still for a moment; should we die in it, the next run lets it go on. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Qmp } from "./qmp.js";
import type { Vm } from "./vm.js";

/** Says that it was us who paused it. */
const note = (vm: Vm): string => join(vm.places.own, "paused");

const statusOf = async (qmp: Qmp): Promise<string> => (await qmp.execute<{ status: string }>("query-status")).status;

/** Does `work` while a running guest stands still. */
export const paused = async (vm: Vm, qmp: Qmp, work: () => Promise<void>): Promise<void> => {
	if ((await statusOf(qmp)) !== "running") return work();
	mkdirSync(vm.places.own, { recursive: true, mode: 0o700 });
	writeFileSync(note(vm), "");
	try {
		await qmp.execute("stop");
		await work();
	} finally {
		await qmp.execute("cont");
		rmSync(note(vm), { force: true });
	}
};

/** After a crash of ours: true when the guest stood still. */
export const resumeLeftover = async (vm: Vm, qmp: Qmp | undefined): Promise<boolean> => {
	if (!existsSync(note(vm))) return false;
	const stands = qmp !== undefined && (await statusOf(qmp)) === "paused";
	if (stands) await qmp.execute("cont");
	rmSync(note(vm), { force: true });
	return stands;
};
