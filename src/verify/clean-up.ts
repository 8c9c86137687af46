/** Takes away what runs have left that were killed. */
import type { Hypervisor } from "../hypervisor/index.js";
import { causeOf } from "./errors.js";
import { takeAway } from "./machine.js";
import { cleanWork } from "./work-folders.js";
import type { VerifyWorld } from "./world.js";

/** One line for each thing; what cannot be taken away stays noted. @param host opens a host by its name (null: our own) */
export const cleanUpRuns = async (
	world: Pick<VerifyWorld, "notes" | "cleanLabs" | "directory" | "serving">,
	host: (name: string | null) => Promise<Hypervisor>,
): Promise<string[]> => {
	const { notes } = world;
	const lines: string[] = [];
	for (const run of notes.left()) {
		const left = notes.adopt(run);
		if (left === undefined) continue;
		try {
			const { note } = left;
			const opened = note.vms.length > 0 ? await host(note.host) : undefined;
			for (const name of [...note.vms]) {
				await takeAway(name, undefined, opened!, left, world);
				lines.push(`VM ${name} of a run that was killed`);
			}
			for (const session of [...note.sessions]) {
				await world.serving.drop(session);
				left.drop("sessions", session);
				lines.push(`session ${session} of a run that was killed`);
			}
			for (const lab of [...note.labs]) {
				lines.push(...(await world.cleanLabs(world.directory, (id) => id !== lab)));
				left.drop("labs", lab);
			}
		} catch (error) {
			lines.push(`what run ${run.slice(0, 8)} left could not all be taken away: ${causeOf(error)}`);
		} finally {
			left.end();
		}
	}
	notes.tidy();
	lines.push(...(await cleanWork(world.directory, () => notes.living())));
	const live = notes.liveLabs();
	lines.push(...(await world.cleanLabs(world.directory, (id) => live.has(id))));
	return lines;
};
