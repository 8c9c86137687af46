/** What crashed runs left on a host: found by the notes in the VMs' metadata, and taken away. */
import { causeOf } from "../errors.js";
import { deleteCheckpoint, ourCheckpoints } from "./checkpoints.js";
import { allDomains, type Domain, type Host } from "./domain.js";
import { removeFolder } from "./folder.js";
import { tryThaw } from "./freeze.js";
import { tryLock } from "./lock.js";
import { readNote, removeNote, writeNote } from "./notes.js";
import { endBackup, endPaused } from "./remove-snapshot.js";
import { settleMove } from "./settle-move.js";

const THAW_MS = 10_000;

/** Whoever calls this has the VM's lock. One line for each thing. */
export const cleanDomain = async (domain: Domain): Promise<string[]> => {
	const note = await readNote(domain);
	if (note === undefined) return [];
	const lines: string[] = [];
	const found = (what: string) => lines.push(`VM ${domain.name}: ${what}`);
	let frozen = false;
	if (note.frozen !== undefined)
		try {
			if ((await tryThaw(domain, THAW_MS)) > 0) found("frozen file systems");
		} catch (error) {
			// Off, or with an agent that was taken away: nothing is frozen there. One that hangs may be.
			frozen = /not within|no answer|not respond/i.test(causeOf(error));
		}
	if (note.folder !== undefined) {
		if (await endBackup(domain)) found("a backup job");
		if (removeFolder(note.folder)) found(`socket and scratch files in ${note.folder}`);
	}
	if (note.checkpoint !== undefined && (await ourCheckpoints(domain)).includes(note.checkpoint)) {
		// What it began nobody knows by name. Of a VM that is off it goes in a later round.
		const gone = await deleteCheckpoint(domain, note.checkpoint).then(
			() => true,
			() => false,
		);
		if (gone) found(`checkpoint ${note.checkpoint}`);
	}
	if (note.move !== undefined) lines.push(...(await settleMove(domain, note)));
	if (note.started !== undefined && (await endPaused(domain))) found("the paused VM that its disks were read from");
	if (frozen) await writeNote(domain, { frozen: "yes" });
	else await removeNote(domain);
	return lines;
};

/** @param only id of the only VM that is looked at */
export const cleanUp = async (host: Host, only?: string): Promise<string[]> => {
	const lines: string[] = [];
	for (const domain of await allDomains(host)) {
		if (only !== undefined && domain.id !== only) continue;
		try {
			const lock = tryLock(domain);
			if (lock === undefined) continue;
			try {
				lines.push(...(await cleanDomain(domain)));
			} finally {
				lock.release();
			}
		} catch (error) {
			lines.push(`VM ${domain.name}: not cleaned: ${causeOf(error)}`);
		}
	}
	return lines;
};
