/**
 * What is new since the last checkpoint, and the checkpoint itself (docs/format.md, 10.1). Writers of backups that run at
 * once in one process share it: what one of them has claimed is no longer new to the others, and no point is put before
 * a checkpoint has made everything durable that any of them claimed.
 */
import { IdentityTable } from "./identity-table.js";
import type { Index } from "./index-set.js";
import { packName } from "./layout.js";
import type { FinishedPack } from "./pack-writer.js";
import type { Store } from "./store.js";

/** A writer that puts records into packs of its own. */
export interface Member {
	/** Closes its packs and hands them over; all that was claimed through it is in them. */
	drain(to: FinishedPack[]): Promise<void>;
	/** Removes its temporary files that were not handed over. */
	discard(): Promise<void>;
}

export class NewRecords {
	readonly #store: Store;
	readonly #index: Index;
	readonly #table = new IdentityTable();
	/** pack ids since the last checkpoint; rows of the table's pack column */
	#packs: string[] = [];
	readonly #rows = new Map<string, number>();
	readonly #members = new Set<Member>();
	readonly #inFlight = new Set<Promise<unknown>>();
	/** finished but not yet published */
	#unnamed: FinishedPack[] = [];
	/** what looks up and claims now; a checkpoint waits until it is 0 */
	#claiming = 0;
	#claimed = () => {};
	#checkpoint: Promise<void> | undefined;
	/** a record that was claimed is not stored: nothing that counts on it may be committed */
	#failure: { error: unknown } | undefined;

	constructor(store: Store, index: Index) {
		this.#store = store;
		this.#index = index;
	}

	/** New records that no checkpoint has made durable. */
	get count(): number {
		return this.#table.count;
	}

	get members(): number {
		return this.#members.size;
	}

	get failed(): boolean {
		return this.#failure !== undefined;
	}

	join(member: Member): void {
		this.#members.add(member);
	}

	/**
	 * Ends a writer. What it claimed the others count on, so its packs stay for their checkpoint; the last one to leave
	 * removes what was not published.
	 */
	async leave(member: Member): Promise<void> {
		if (this.#members.size > 1 && !this.failed)
			// Its failure is that of the others, too; they meet it when they go on.
			await this.#alone(() => member.drain(this.#unnamed)).catch(() => {});
		await Promise.allSettled(this.#inFlight);
		await member.discard();
		this.#members.delete(member);
		if (this.#members.size > 0) return;
		for (const { upload } of this.#unnamed.splice(0)) await upload.abandon();
	}

	/** Whether the record was claimed since the last checkpoint. */
	has(identity: Buffer, offset: number, type: number): boolean {
		return this.#table.find(identity, offset, type) >= 0;
	}

	/** Number of the claim, or -1 when there is one already. */
	claim(identity: Buffer, offset: number, type: number, rawLength: number): number {
		if (this.#failure !== undefined) throw this.#failure.error;
		return this.has(identity, offset, type) ? -1 : this.#table.add(identity, offset, type, rawLength);
	}

	/** Says where the record of a claim is. */
	place(claim: number, pack: string, offset: number, length: number): void {
		let row = this.#rows.get(pack);
		if (row === undefined) {
			row = this.#packs.push(pack) - 1;
			this.#rows.set(pack, row);
		}
		this.#table.place(claim, row, offset, length);
	}

	/** Work that ends with what was claimed in its place; when it fails, so does everything that shares these records. */
	follow(work: Promise<unknown>): void {
		this.#inFlight.add(work);
		work.then(
			() => this.#inFlight.delete(work),
			(error) => {
				this.#failure ??= { error };
				this.#inFlight.delete(work);
			},
		);
	}

	/** Looks up and claims while no checkpoint takes place; what it claims is followed when it returns. */
	async claiming<T>(work: () => T | Promise<T>): Promise<T> {
		while (this.#checkpoint !== undefined) await this.#checkpoint.catch(() => {});
		this.#claiming += 1;
		try {
			return await work();
		} finally {
			this.#claiming -= 1;
			if (this.#claiming === 0) this.#claimed();
		}
	}

	/** Makes everything claimed so far durable and findable: packs, then an index segment. */
	checkpoint(): Promise<void> {
		return this.#alone(() => this.#publish());
	}

	async #alone(work: () => Promise<void>): Promise<void> {
		while (this.#checkpoint !== undefined) await this.#checkpoint.catch(() => {});
		const run = this.#whenStill(work);
		this.#checkpoint = run;
		try {
			await run;
		} finally {
			this.#checkpoint = undefined;
		}
	}

	/** Runs work when nothing is claimed or on its way. */
	async #whenStill(work: () => Promise<void>): Promise<void> {
		if (this.#claiming > 0)
			await new Promise<void>((resolve) => {
				this.#claimed = resolve;
			});
		await Promise.allSettled(this.#inFlight);
		try {
			if (this.#failure === undefined) await work();
		} catch (error) {
			this.#failure ??= { error };
		}
		if (this.#failure !== undefined) throw this.#failure.error;
	}

	async #publish(): Promise<void> {
		if (this.#table.count === 0) return;
		for (const member of this.#members) await member.drain(this.#unnamed);
		const packs = this.#unnamed.map(({ id, upload }) => ({ upload, name: packName(id) }));
		const sizes = new Map(this.#unnamed.map(({ id, upload }) => [id, upload.length]));
		await this.#store.publish(packs);
		this.#unnamed = [];
		await this.#index.put(
			this.#table.entries,
			this.#table.count,
			this.#packs.map((id) => ({ id, size: sizes.get(id)! })),
		);
		this.#table.clear();
		this.#packs = [];
		this.#rows.clear();
	}
}
