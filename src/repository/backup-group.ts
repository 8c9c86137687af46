/**
 * Backups that run at once in this process: they share the threads and what is new. With those of other processes they share
 * what a checkpoint has made durable, so while others run there are more of them (docs/format.md, 10.1).
 */
import { availableParallelism } from "node:os";
import { createLane, type Lane } from "../../native/index.js";
import { runningBackups } from "./backup-locks.js";
import { condemnedPacks, readCondemned } from "./condemned.js";
import type { Index } from "./index-set.js";
import { LOCK_BYTE, LOCK_REPOSITORY } from "./layout.js";
import { NewRecords } from "./new-records.js";
import { RecordWriter } from "./record-writer.js";
import type { Held, Store } from "./store.js";
import type { WriteContext } from "./write-context.js";

/** Others are looked for at most this often, ms. */
const LOOK_MS = 2000;

/** What one backup of a group works with. */
export interface Place {
	lane: Lane;
	writer: RecordWriter;
	/** Makes what is new durable, where there is enough of it. */
	checkpointIfDue(): Promise<void>;
	/** Ends the backup; what it has not made durable is gone, unless others count on it. */
	leave(): Promise<void>;
}

interface Group {
	lane: Lane;
	records: NewRecords;
	/** of all members: what one must not count on is not counted on by any */
	condemned: Set<string>;
	places: number;
}

export class BackupGroups {
	#group: Group | undefined;
	#looked = Number.NEGATIVE_INFINITY;
	#others = false;

	constructor(
		private readonly store: Store,
		private readonly index: Index,
		/** new records between two checkpoints while backups of other processes run */
		private readonly besideRecords: number,
	) {}

	/** The caller is enrolled among the running backups, and has read `condemned` since. */
	join(context: WriteContext, condemned: ReadonlySet<string>): Place {
		// Where a record could not be stored nobody may count on the group any more.
		if (this.#group === undefined || this.#group.records.failed) this.#group = this.#begin();
		const group = this.#group;
		group.places += 1;
		for (const pack of condemned) group.condemned.add(pack);
		const { lane, records } = group;
		const writer = new RecordWriter(this.store, this.index, lane, { ...context, condemned: group.condemned, records });
		return {
			lane,
			writer,
			checkpointIfDue: () => this.#checkpointIfDue(group, writer, context.checkpointRecords),
			leave: async () => {
				await writer.leave();
				group.places -= 1;
				if (group.places > 0) return;
				if (this.#group === group) this.#group = undefined;
				await lane.close();
			},
		};
	}

	#begin(): Group {
		const lane = createLane("repository-backup", availableParallelism());
		return { lane, records: new NewRecords(this.store, this.index), condemned: new Set(), places: 0 };
	}

	async #checkpointIfDue({ records, places }: Group, writer: RecordWriter, most: number): Promise<void> {
		const beside = records.count < most;
		if (beside && (records.count < this.besideRecords || !(await this.#othersRun(places)))) return;
		await writer.checkpoint();
		// Many small segments would make each look-up dear.
		if (beside) await mergeIndex(this.store, this.index);
		await writer.lookAround();
	}

	/** Whether backups run that are not of this group. */
	async #othersRun(own: number): Promise<boolean> {
		if (performance.now() - this.#looked < LOOK_MS) return this.#others;
		this.#looked = performance.now();
		this.#others = (await runningBackups(this.store)).length > own;
		return this.#others;
	}
}

/** What is stored is durable; a merge that fails or is somebody else's turn changes nothing. */
export const mergeIndex = async (store: Store, index: Index): Promise<void> => {
	let held: Held | undefined;
	try {
		held = await store.lock(LOCK_REPOSITORY, LOCK_BYTE.merge, "exclusive");
		if (held !== undefined) await index.merge(condemnedPacks(await readCondemned(store)));
	} catch {
		// The next backup tries again.
	} finally {
		held?.release();
	}
};
