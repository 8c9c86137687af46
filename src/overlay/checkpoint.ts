/**
 * Checkpoints: merge the frozen changes into the tree, sync, flip the superblock, recycle what is dead
 * (docs/overlay-format.md, "Checkpoint"). One runs at a time.
 */
import { type Lane, xxh3 } from "../../native/index.js";
import { putU64 } from "./codec.js";
import { isNoSpace, noSpace } from "./errors.js";
import { mergeExtents } from "./extent-merge.js";
import { type Frozen, freeze } from "./freeze.js";
import { PAGE } from "./geometry.js";
import { HELD_AT } from "./inode.js";
import type { Log } from "./log.js";
import { type Change, TreeMerge } from "./merge.js";
import type { PageRef } from "./page.js";
import type { PageStore } from "./page-store.js";
import type { State } from "./state.js";
import { encodeSuperblock, superblockArea } from "./superblock.js";
import { idOf, keyOf, type Root, TYPE } from "./tree.js";

/** A version of the tree that somebody still reads. */
export interface Hold {
	checkpoint: number;
	root: Root;
}

export class Checkpointer {
	readonly holds = new Set<Hold>();
	frozen: Frozen | undefined;
	/** the next one is the last */
	closing = false;
	#running: Promise<void> | undefined;
	/** replaced pages, by the checkpoint that replaced them */
	#replaced: { checkpoint: number; pages: number[] }[] = [];

	constructor(
		readonly uuid: Buffer,
		readonly lane: Lane,
		/** the log, in a description of its own */
		readonly logFd: number,
		readonly store: PageStore,
		readonly state: State,
		readonly log: Log,
		/** the newest durable tree */
		public root: Root,
		/** its number */
		public number: number,
		/** its free map */
		public maps: (PageRef | undefined)[],
		/** after each: is there something to compact? */
		readonly onDone: () => void,
	) {}

	get running(): Promise<void> | undefined {
		return this.#running;
	}

	/** Starts one, or joins the one that runs. */
	start(): Promise<void> {
		this.#running ??= this.#run(false).finally(() => {
			this.#running = undefined;
		});
		return this.#running;
	}

	/** One that covers everything up to now. With `hold`, begins a new epoch and keeps the tree. */
	async full(hold = false, atFreeze?: () => void): Promise<Hold> {
		while (this.#running || this.frozen) await this.start();
		let held: Hold | undefined;
		this.#running = this.#run(hold, atFreeze, () => {
			held = { checkpoint: this.number, root: this.root };
			if (hold) this.holds.add(held);
		}).finally(() => {
			this.#running = undefined;
		});
		await this.#running;
		return held!;
	}

	release(hold: Hold): void {
		this.holds.delete(hold);
	}

	async #run(newEpoch: boolean, atFreeze?: () => void, atCommit?: () => void): Promise<void> {
		// What an earlier attempt froze and could not write goes first.
		this.frozen ??= await this.log.exclusive(() => {
			const frozen = freeze(this.state, this.log, newEpoch);
			this.frozen = frozen;
			atFreeze?.();
			return frozen;
		});
		const { frozen } = this;
		await this.log.sync(this.lane, this.logFd);
		let attempt: Attempt;
		try {
			attempt = await this.#attempt(frozen);
		} catch (error) {
			this.store.rollback();
			if (!isNoSpace(error)) this.#fail(error);
			if (!this.log.reserve.release()) throw noSpace(error);
			attempt = await this.#retry(frozen);
		}
		await this.log.exclusive(() => {
			this.#commit(frozen, attempt);
			atCommit?.();
		});
		await this.#recycle();
		this.onDone();
	}

	async #retry(frozen: Frozen): Promise<Attempt> {
		try {
			return await this.#attempt(frozen);
		} catch (error) {
			this.store.rollback();
			if (!isNoSpace(error)) this.#fail(error);
			throw noSpace(error);
		}
	}

	#fail(error: unknown): never {
		this.log.fail(error);
		throw this.log.failure;
	}

	async #attempt(frozen: Frozen): Promise<Attempt> {
		const { store } = this;
		const attempt: Attempt = { root: this.root, maps: [], segments: new Map(), held: new Map() };
		const merge = new TreeMerge(store, this.number + 1, this.#changes(frozen, attempt));
		attempt.root = await merge.run(this.root);
		attempt.maps = await this.#writeMaps();
		await store.flush();
		await this.lane.fdatasync(store.fd);
		const superblock = encodeSuperblock(
			{
				...frozen,
				uuid: this.uuid,
				checkpoint: this.number + 1,
				generation: this.log.identity.generation,
				clean: this.closing,
				root: attempt.root,
				maps: attempt.maps,
				pages: store.total,
				segments: this.log.segments.total,
			},
			store.secret,
		);
		await this.#flip(superblock, superblockArea(this.number + 1));
		return attempt;
	}

	/** Writes the superblock. One that failed must not count later, when its pages are used for something else. */
	async #flip(superblock: Buffer, area: number): Promise<void> {
		try {
			await this.lane.write(this.store.fd, [superblock], area, true);
		} catch (error) {
			if (isNoSpace(error)) await this.lane.write(this.store.fd, [Buffer.alloc(PAGE)], area, true).catch(this.#fatal);
			throw error;
		}
	}

	readonly #fatal = (error: unknown): never => this.#fail(error);

	/** All changes in key order. Inode and segment records follow from what merging the extents found. */
	async *#changes(frozen: Frozen, attempt: Attempt): AsyncGenerator<Change[]> {
		const { store, root } = this;
		const { segments } = this.log;
		for (const id of [...frozen.delta.files.keys()].sort((x, y) => x - y)) {
			const runs = frozen.delta.files.get(id)!.list;
			yield* mergeExtents(store, root, id, runs, (position, length, sign) => {
				const segment = Math.floor(position / segments.bytes);
				attempt.segments.set(segment, (attempt.segments.get(segment) ?? 0) + sign * length);
				attempt.held.set(id, (attempt.held.get(id) ?? 0) + sign * length);
			});
		}
		yield frozen.presence;
		for (const change of frozen.nodes) {
			if (!change.value || change.b !== 0) continue;
			const id = idOf(change.a);
			const before = frozen.held.get(id) ?? 0;
			putU64(change.value as Buffer, HELD_AT, before + (attempt.held.get(id) ?? 0));
		}
		yield frozen.nodes;
		yield frozen.entries;
		yield frozen.requests;
		yield [...attempt.segments.entries()]
			.sort((x, y) => x[0] - y[0])
			.map(([segment, change]) => {
				const live = (segments.live.get(segment) ?? 0) + change;
				const value = Buffer.alloc(4);
				value.writeUInt32LE(live);
				return { a: keyOf(TYPE.segment, 0), b: segment, value: live > 0 ? value : undefined };
			});
	}

	/** Writes the free map pages that changed; taking places for them changes the map again, so until it settles. */
	async #writeMaps(): Promise<(PageRef | undefined)[]> {
		const { store } = this;
		const places = new Map<number, number>();
		for (let settled = false; !settled; ) {
			settled = true;
			for (const index of [...store.dirtyMaps]) {
				if (places.has(index)) continue;
				settled = false;
				const old = this.maps[index];
				if (old) store.free(old.page);
				places.set(index, store.place());
			}
		}
		const maps = [...this.maps];
		for (const [index, page] of places) {
			const bytes = store.map(index);
			await store.fillRaw(page, bytes);
			while (maps.length <= index) maps.push(undefined);
			maps[index] = { page, checksum: xxh3(bytes, store.secret) };
		}
		return maps;
	}

	#commit(frozen: Frozen, attempt: Attempt): void {
		const { log, state, store } = this;
		this.number++;
		this.root = attempt.root;
		this.maps = attempt.maps;
		store.dirtyMaps.clear();
		this.#replaced.push({ checkpoint: this.number, pages: store.commit() });
		log.segments.account(attempt.segments);
		log.segments.plan = frozen.plan;
		for (const [id, change] of attempt.held) {
			const node = state.nodes.get(id);
			if (node) node.held += change;
		}
		state.frozen = undefined;
		this.frozen = undefined;
		log.fillNext();
	}

	/** What the last checkpoint replaced becomes free, unless somebody still looks at it. */
	async #recycle(): Promise<void> {
		const { log, state, store } = this;
		await store.readers.drained();
		await log.exclusive(() => {
			const oldest = Math.min(...[...this.holds].map((hold) => hold.checkpoint), this.number);
			this.#replaced = this.#replaced.filter(({ checkpoint, pages }) => {
				if (checkpoint > oldest) return true;
				store.release(pages);
				return false;
			});
			store.reuse();
			const pinned = (segment: number): boolean => (state.delta.live.get(segment) ?? 0) > 0;
			log.segments.recycle(this.number, oldest, pinned, log.segments.blocks.starved || !log.reserve.whole);
			if (!log.reserve.whole) log.reserve.restore();
		});
	}
}

interface Attempt {
	root: Root;
	maps: (PageRef | undefined)[];
	/** change of live bytes per segment */
	segments: Map<number, number>;
	/** change of content bytes per inode */
	held: Map<number, number>;
}
