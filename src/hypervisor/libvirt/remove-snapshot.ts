/** Gives everything of a snapshot back. Its checkpoint stays: the next backup asks what changed since. */
import { setTimeout as sleep } from "node:timers/promises";
import { deleteCheckpoint, deleteOld, ourCheckpoints } from "./checkpoints.js";
import { type Domain, stateOf } from "./domain.js";
import { removeFolder } from "./folder.js";
import { tryThaw } from "./freeze.js";
import { domainJob } from "./jobs.js";
import { removeNote, writeNote } from "./notes.js";
import type { OpenSnapshot } from "./snapshot.js";

const ABORT_MS = 30_000;

/** `forget`: its checkpoint goes, too; what is known since earlier ones is in their own bitmaps. */
export const removeSnapshot = async (open: OpenSnapshot, forget = false): Promise<void> => {
	if (open.closed) return;
	open.closed = true;
	const { domain, note, lock, owed } = open;
	try {
		let thawed = (await owed?.end()) ?? true;
		if (note.folder !== undefined) {
			await endBackup(domain);
			removeFolder(note.folder);
			if (forget && (await ourCheckpoints(domain)).includes(note.checkpoint!))
				await deleteCheckpoint(domain, note.checkpoint!).catch(() => {});
			await deleteOld(domain).catch(() => {});
		}
		if (note.started !== undefined) await endPaused(domain);
		if (!thawed) thawed = await stillAnswers(domain);
		if (!thawed) await writeNote(domain, { frozen: "yes" });
		else if (Object.keys(note).length > 0) await removeNote(domain);
	} finally {
		lock.release();
	}
};

const stillAnswers = (domain: Domain): Promise<boolean> =>
	tryThaw(domain, 3_000).then(
		() => true,
		() => false,
	);

/** True when there was one. Only ours can be there: whoever calls this has the VM's lock. */
export const endBackup = async (domain: Domain): Promise<boolean> => {
	if ((await domainJob(domain)) !== "Backup") return false;
	// It may end by itself meanwhile: with the VM.
	await domain.host.virsh.call(["domjobabort", domain.id]).catch(() => {});
	for (let waited = 0; (await domainJob(domain)) === "Backup"; waited += 100) {
		if (waited > ABORT_MS) throw new Error(`VM ${domain.name}: libvirt does not end the backup`);
		await sleep(100);
	}
	return true;
};

/** Off again, if nobody made it run meanwhile. True when it was there. */
export const endPaused = async (domain: Domain): Promise<boolean> => {
	if ((await stateOf(domain)) !== "paused") return false;
	await domain.host.virsh.call(["destroy", domain.id]);
	return true;
};
