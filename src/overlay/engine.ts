/**
 * The parts of an open session, wired: descriptors, lanes, state, log, index, reader, checkpoints, compaction.
 */
import { constants } from "node:fs";
import { createLane, type Lane, type SystemError, sys } from "../../native/index.js";
import type { BatchIdentity } from "./batch.js";
import { Blocks } from "./blocks.js";
import { Checkpointer } from "./checkpoint.js";
import { Compaction } from "./compaction.js";
import type { BaseDisk } from "./contract.js";
import { DataCache } from "./data-cache.js";
import { DEFAULT_RESERVE, DELTA_LIMIT, planLength, REPLAY_LIMIT } from "./geometry.js";
import type { Node } from "./inode.js";
import { Log } from "./log.js";
import { OverlayMemory } from "./memory.js";
import type { PageRef } from "./page.js";
import { PageStore } from "./page-store.js";
import { ContentReader, type View } from "./reader.js";
import { Readers } from "./readers.js";
import { Reserve } from "./reserve.js";
import { Salvage } from "./salvage.js";
import { Segments } from "./segments.js";
import type { SessionFile } from "./session-file.js";
import { State } from "./state.js";
import type { Root } from "./tree.js";

/** of a session that shares no memory with others */
const OWN_CACHE = 32 * 1024 * 1024;

export interface EngineOptions {
	directory: string;
	lock: number;
	session: SessionFile;
	bases: BaseDisk[];
	reserveBytes?: number;
	/** shared with the other sessions of the process */
	memory?: OverlayMemory;
	/** bytes each of log pages and index pages in memory, where that is not shared */
	cacheBytes?: number;
}

export class Engine {
	readonly directory: string;
	readonly uuid: Buffer;
	readonly state: State;
	readonly segments: Segments;
	readonly reserve: Reserve;
	readonly store: PageStore;
	readonly logFd: number;
	readonly indexFd: number;
	onFailure: () => void = () => undefined;
	log!: Log;
	reader!: ContentReader;
	checkpointer!: Checkpointer;
	compaction!: Compaction;
	readonly #options: EngineOptions;
	/** the log again: what checkpoints sync */
	readonly #checkpointFd: number;
	readonly #lanes: { log: Lane; background: Lane; space: Lane; read: Lane };
	readonly #memory: OverlayMemory;
	readonly #cache: DataCache;

	constructor(options: EngineOptions) {
		const { directory, session } = options;
		this.#options = options;
		this.directory = directory;
		this.uuid = session.uuid;
		const { cacheBytes = OWN_CACHE, memory = new OverlayMemory(cacheBytes, cacheBytes) } = options;
		this.#memory = memory;
		this.#cache = new DataCache(memory.content);
		const flags = constants.O_RDWR | constants.O_CREAT;
		this.#lanes = {
			log: createLane("overlay-log", 1),
			background: createLane("overlay-background", 1),
			// Two: a writer that needs room does not wait for one that gives it back.
			space: createLane("overlay-space", 2),
			read: createLane("overlay-read", 2),
		};
		const onFailure = (error: unknown) => this.log.fail(error);
		const opened: (() => void)[] = [];
		const open = (name: string, flags: number): number => {
			const fd = sys.open(`${directory}/${name}`, flags, 0o600);
			opened.push(() => sys.close(fd));
			return fd;
		};
		try {
			this.logFd = open("log", flags);
			this.indexFd = open("index", flags);
			this.#checkpointFd = open("log", constants.O_RDWR);
			const blocks = new Blocks(`${directory}/log`, session.segmentBytes, this.#lanes.space, onFailure);
			opened.push(() => blocks.close());
			this.segments = new Segments(blocks);
			this.reserve = new Reserve(directory, options.reserveBytes ?? DEFAULT_RESERVE, session.segmentBytes);
		} catch (error) {
			for (const close of opened) close();
			for (const lane of Object.values(this.#lanes)) void lane.close();
			throw error;
		}
		this.state = new State(session.segmentBytes);
		this.store = new PageStore(
			this.indexFd,
			`${directory}/index`,
			session.secret,
			this.#lanes.background,
			this.#lanes.read,
			new Readers(),
			memory,
		);
	}

	/** Everything that needs to know the generation and the checkpoint. */
	start(identity: BatchIdentity, checkpoint: { root: Root; number: number; maps: (PageRef | undefined)[] }): void {
		const cache = this.#cache;
		const { bytes } = this.segments;
		this.log = new Log(this.directory, this.logFd, this.#lanes.log, this.state, this.segments, this.reserve, identity, {
			onBatch: () => this.#afterBatch(),
			onPlanUsed: () => this.checkpointer.start(),
			onCrowded: () => (this.state.delta.count > 4 * DELTA_LIMIT ? this.checkpointer.start() : undefined),
			allowance: () => this.compaction.allowance,
			onSpent: (spent) => this.compaction.spend(spent),
			onRefused: () => this.#reclaim(),
			onFailure: () => this.onFailure(),
			onWritten: (position, parts) => cache.written(position, parts),
			onSegment: (segment) => {
				cache.forget(segment * bytes, (segment + 1) * bytes);
				this.compaction.entered(segment);
			},
		});
		const { buffers } = this.#memory;
		this.reader = new ContentReader(this.logFd, this.#lanes.read, this.store, cache, this.log, buffers);
		const { root, number, maps } = checkpoint;
		this.checkpointer = new Checkpointer(
			this.uuid,
			this.#lanes.background,
			this.#checkpointFd,
			this.store,
			this.state,
			this.log,
			root,
			number,
			maps,
			() => this.compaction.checkpointed(),
		);
		const viewOf = (id: number): View | undefined => {
			const node = this.state.nodes.get(id);
			return node && this.viewOfNode(node);
		};
		const { secret } = this.#options.session;
		const salvage = new Salvage(secret, this.logFd, this.#lanes.read, bytes, this.reader, viewOf);
		this.compaction = new Compaction(this.log, salvage, this.checkpointer);
	}

	viewOfNode(node: Node): View {
		const { state } = this;
		return {
			id: node.id,
			presence: state.presence.get(node.id),
			deltas: state.frozen ? [state.delta, state.frozen] : [state.delta],
			root: this.checkpointer.root,
			base: node.base >= 0 ? this.#options.bases[node.base]?.base : undefined,
			baseLimit: node.baseLimit,
		};
	}

	/** Bytes of the session's files on the disk. */
	diskBytes(): number {
		return [this.logFd, this.indexFd, this.reserve.fd].reduce((sum, fd) => sum + sys.fstat(fd).allocated, 0);
	}

	/** How much log has gathered since the newest checkpoint, in bytes of whole segments and the one in use. */
	#gathered(): number {
		const index = this.segments.plan.indexOf(this.log.active);
		return index * this.segments.bytes + this.log.head;
	}

	/** A checkpoint frees what was overwritten, truncated or removed since the last, and what free segments hold. */
	#reclaim(): void {
		const { delta, dirtyCount } = this.state;
		if (this.log.failure || this.checkpointer.running) return;
		if (delta.count === 0 && dirtyCount === 0 && !this.segments.hoards) return;
		this.checkpointer.start().catch(() => undefined);
	}

	#afterBatch(): void {
		if (this.log.failure || this.checkpointer.running) return;
		// On a full disk only what may free space gets here.
		if (!this.reserve.whole) {
			this.#reclaim();
			return;
		}
		const half = Math.min(REPLAY_LIMIT, planLength(this.segments.bytes) * this.segments.bytes) / 2;
		const { state } = this;
		if (this.#gathered() < half && state.delta.count < DELTA_LIMIT && state.dirtyCount < DELTA_LIMIT) return;
		// A full disk: the next batch tries again. Anything else has stopped the session.
		this.checkpointer.start().catch(() => undefined);
	}

	/** Checkpoints if it can, then lets go of everything. */
	async close(): Promise<void> {
		this.compaction.stopping = true;
		await this.compaction.running;
		let failure: unknown;
		if (!this.log.failure) {
			try {
				await this.log.commit();
				this.checkpointer.closing = true;
				await this.checkpointer.full();
			} catch (error) {
				// Without room for a checkpoint the log has it all, and the next open replays it.
				if ((error as SystemError).code !== "ENOSPC") failure = error;
			}
		}
		await this.dispose();
		if (failure) throw failure;
	}

	/** Lets go of everything as it is. */
	async dispose(): Promise<void> {
		await this.segments.settle();
		await this.checkpointer?.running?.catch(() => undefined);
		for (const lane of Object.values(this.#lanes)) await lane.close();
		this.#cache.clear();
		this.store.close();
		this.reserve.close();
		this.segments.blocks.close();
		for (const fd of [this.logFd, this.#checkpointFd, this.indexFd, this.#options.lock]) sys.close(fd);
	}
}
