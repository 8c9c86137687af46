/**
 * The session as the rooms above see it (contract.ts): a thin face over state, log, reader and checkpoints.
 */
import { randomBytes } from "node:crypto";
import { sys } from "../../native/index.js";
import type { Extent, Loan } from "../image/image.js";
import { changesWithin } from "./changes.js";
import { writeContent, zeroContent } from "./content.js";
import type {
	BaseDisk,
	CreateSpec,
	DirEntry,
	EpochSnapshot,
	Inode,
	InodeChange,
	InodeId,
	Prior,
	RequestRecord,
	SessionTree,
	SessionUsage,
} from "./contract.js";
import { OverlayError } from "./contract.js";
import type { Engine } from "./engine.js";
import { TARGET_MAX } from "./geometry.js";
import type { Node } from "./inode.js";
import type { Submission } from "./log.js";
import { changeNode, createNode, directoryOf, linkNode, nodeOf, removeNode, renameNode } from "./namespace.js";
import { NAMESPACE_META } from "./operations.js";
import { makeSnapshot } from "./snapshot.js";
import type { Transaction } from "./transaction.js";

export const ROOT: InodeId = 1;

export class Session implements SessionTree {
	readonly root = ROOT;
	readonly uuid: Buffer;
	#verifier = randomBytes(8);
	#closing: Promise<void> | undefined;
	/** a symlink is or was there */
	#symlinks: boolean;

	constructor(
		readonly engine: Engine,
		readonly bases: BaseDisk[],
		readonly now: () => bigint,
	) {
		this.uuid = engine.uuid;
		this.#symlinks = [...engine.state.nodes.values()].some((node) => node.target !== undefined);
		engine.onFailure = () => {
			this.#verifier = randomBytes(8);
		};
	}

	get writeVerifier(): Buffer {
		return this.#verifier;
	}

	inode(id: InodeId): Inode | undefined {
		const node = this.engine.state.nodes.get(id);
		return node && this.#inode(node);
	}

	lookup(directory: InodeId, name: string): InodeId | undefined {
		return this.engine.state.directories.get(directory)?.get(name)?.id;
	}

	parent(directory: InodeId): InodeId {
		return directoryOf(this.engine.state, directory).parent;
	}

	list(directory: InodeId, after: bigint, limit: number): { entries: DirEntry[]; end: boolean } {
		directoryOf(this.engine.state, directory);
		const found = this.engine.state.directories.get(directory);
		return found?.list(Number(after), limit) ?? { entries: [], end: true };
	}

	request(key: string): Buffer | undefined {
		return this.engine.state.requests.get(key.padEnd(16, "\0"));
	}

	async create(directory: InodeId, name: string, spec: CreateSpec, request?: RequestRecord): Promise<Inode> {
		if (spec.target) this.#symlinks = true;
		const extra = name.length + (spec.target?.length ?? 0);
		return this.#change(extra, request, false, (tx) =>
			this.#inode(createNode(tx, this.now(), directory, name, spec, request)),
		);
	}

	async remove(directory: InodeId, name: string, request?: RequestRecord): Promise<void> {
		return this.#change(this.#targets(1), request, true, (tx) =>
			removeNode(tx, this.now(), directory, name, false, request),
		);
	}

	async removeDirectory(directory: InodeId, name: string, request?: RequestRecord): Promise<void> {
		return this.#change(0, request, true, (tx) => removeNode(tx, this.now(), directory, name, true, request));
	}

	async rename(from: InodeId, name: string, to: InodeId, toName: string, request?: RequestRecord): Promise<void> {
		const extra = toName.length + this.#targets(2);
		return this.#change(extra, request, false, (tx) => renameNode(tx, this.now(), from, name, to, toName, request));
	}

	async link(id: InodeId, directory: InodeId, name: string, request?: RequestRecord): Promise<void> {
		const extra = name.length + this.#targets(1);
		return this.#change(extra, request, false, (tx) => linkNode(tx, this.now(), id, directory, name, request));
	}

	async change(id: InodeId, change: InodeChange, request?: RequestRecord): Promise<void> {
		return this.#change(this.#targets(1), request, true, (tx) => changeNode(tx, this.now(), id, change, request));
	}

	read(id: InodeId, offset: number, target: Buffer): void | Promise<void> {
		return this.engine.reader.read(this.#view(id), offset, target);
	}

	borrow(id: InodeId, offset: number, length: number): Loan[] | undefined {
		return this.engine.reader.borrow(this.#view(id), offset, length);
	}

	write(id: InodeId, offset: number, data: Buffer, stable: boolean): Promise<{ before: Prior }> {
		if (this.#closing) return Promise.reject(this.#closed());
		return writeContent(this.engine.log, this.now, id, offset, data, stable);
	}

	zero(id: InodeId, offset: number, length: number, stable: boolean): Promise<void> {
		if (this.#closing) return Promise.reject(this.#closed());
		return zeroContent(this.engine.log, this.now, id, offset, length, stable);
	}

	async commit(id: InodeId): Promise<void> {
		if (this.#closing) throw this.#closed();
		if (!this.engine.log.failure) nodeOf(this.engine.state, id);
		await this.engine.log.commit();
	}

	extents(id: InodeId, offset: number, length: number): Extent[] | Promise<Extent[]> {
		return this.engine.reader.extents(this.#view(id), offset, length);
	}

	changes(id: InodeId, since: number, offset: number, length: number): Extent[] | Promise<Extent[]> {
		const node = nodeOf(this.engine.state, id);
		return changesWithin(this.engine.reader, this.engine.viewOfNode(node), node, since, offset, length);
	}

	async snapshot(id: InodeId): Promise<EpochSnapshot> {
		return (await this.snapshots([id]))[0];
	}

	async snapshots(ids: InodeId[]): Promise<EpochSnapshot[]> {
		const { checkpointer, reader, state, store } = this.engine;
		for (const id of ids) nodeOf(state, id);
		const nodes: Node[] = [];
		let epoch = 0;
		const hold = await checkpointer.full(true, () => {
			epoch = state.epoch - 1;
			for (const id of ids) {
				const node = state.nodes.get(id);
				if (node) nodes.push({ ...node });
			}
		});
		if (nodes.length < ids.length) {
			checkpointer.release(hold);
			throw new OverlayError(
				"ESTALE",
				`inode ${ids.find((id) => !nodes.some((node) => node.id === id))} does not exist any more`,
			);
		}
		let users = nodes.length;
		const release = (): void => {
			if (--users === 0) checkpointer.release(hold);
		};
		return nodes.map((node) => makeSnapshot(release, hold, reader, store, node, epoch, this.engine.viewOfNode(node)));
	}

	observeSyncs(observer: (milliseconds: number) => void): void {
		this.engine.log.onSync = observer;
	}

	usage(): SessionUsage {
		const { state, log, reserve } = this.engine;
		const stat = sys.statfs(this.engine.directory);
		return {
			diskBytes: this.engine.diskBytes(),
			liveBytes: log.segments.liveTotal + state.delta.total + (state.frozen?.total ?? 0),
			lastWrite: state.lastWrite,
			freeBytes: Math.max(0, stat.available - (reserve.whole ? 0 : reserve.size)),
			totalBytes: stat.total,
			failed: log.failure !== undefined,
			failure: log.failure?.message,
		};
	}

	close(): Promise<void> {
		this.#closing ??= this.engine.close();
		return this.#closing;
	}

	#closed(): OverlayError {
		return new OverlayError("EIO", `session ${this.engine.directory} is closed`);
	}

	#view(id: InodeId) {
		return this.engine.viewOfNode(nodeOf(this.engine.state, id));
	}

	/**
	 * Room for `count` link targets, which are logged with their inodes. What a name will lead to when its turn comes
	 * is not known yet, so it is the most that it can be, once there are symlinks at all.
	 */
	#targets(count: number): number {
		return this.#symlinks ? count * TARGET_MAX : 0;
	}

	/** Submits a namespace change. `extra`: bytes of names and targets that it logs. */
	#change<T>(
		extra: number,
		request: RequestRecord | undefined,
		privileged: boolean,
		apply: (tx: Transaction) => T,
	): Promise<T> {
		if (this.#closing) return Promise.reject(this.#closed());
		const meta = NAMESPACE_META + extra + (request?.reply.length ?? 0);
		const submission: Submission<T> = { meta, payload: 0, stable: true, privileged, apply };
		return this.engine.log.submit(submission);
	}

	#inode(node: Node): Inode {
		const disk = node.base >= 0 ? this.bases[node.base] : undefined;
		const below = disk ? Math.min(disk.allocated ?? disk.base.size, node.baseLimit) : 0;
		return {
			id: node.id,
			kind: node.kind,
			mode: node.mode,
			nlink: node.nlink,
			uid: node.uid,
			gid: node.gid,
			size: node.size,
			used: node.kind === "file" ? Math.min(node.size, this.engine.state.heldBytes(node) + below) : 0,
			rdevMajor: node.rdevMajor,
			rdevMinor: node.rdevMinor,
			atime: node.atime,
			mtime: node.mtime,
			ctime: node.ctime,
			verifier: node.verifier,
			target: node.target,
			base: node.base >= 0 ? node.base : undefined,
		};
	}
}
