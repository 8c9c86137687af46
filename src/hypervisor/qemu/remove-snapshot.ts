/** Gives everything of a snapshot back. Its bitmap stays, unless nobody will ask what changed since. */

import { forgetOld, forgetSnapshot } from "./forget-bitmaps.js";
import { stopHelper } from "./helper.js";
import { Qmp } from "./qmp.js";
import { removeScratch } from "./scratch.js";
import type { OpenSnapshot } from "./snapshot.js";
import { takeAway } from "./take-away.js";

/** Harmless when the VM's process, or the snapshot, is gone. */
export const removeSnapshot = async (open: OpenSnapshot, forget: boolean): Promise<void> => {
	if (open.closed) return;
	open.closed = true;
	const { vm, lock, socket } = open;
	try {
		const qmp = await Qmp.connect(socket);
		try {
			if (qmp !== undefined) {
				await takeAway(vm, qmp);
				await (forget ? forgetSnapshot : forgetOld)(open, qmp);
			}
		} finally {
			qmp?.close();
		}
		await stopHelper(vm);
		removeScratch(vm);
	} finally {
		lock.release();
	}
};
