/**
 * Everything a session knows that is not in the index: inodes, directories, request records, and the content
 * changes since the last checkpoint. `apply` is the meaning of each operation, for new batches and for replay
 * alike; it returns how to undo it.
 */
import type { InodeId } from "./contract.js";
import { Delta } from "./delta.js";
import { Directory } from "./directory.js";
import { type Node, noteShrink } from "./inode.js";
import {
	DELETE_ENTRY,
	DELETE_INODE,
	MOVE,
	type Operation,
	PUT_ENTRY,
	PUT_INODE,
	REQUEST,
	TRUNCATE,
	WRITE,
	ZERO,
} from "./operations.js";
import { Presence } from "./presence.js";
import { Requests } from "./requests.js";
import { HOLE, ZEROS } from "./runs.js";

/** Content ends before this offset. */
export const END = Number.MAX_SAFE_INTEGER;

export class State {
	readonly nodes = new Map<InodeId, Node>();
	readonly directories = new Map<InodeId, Directory>();
	readonly presence = new Map<InodeId, Presence>();
	readonly requests = new Requests();
	/** newest content changes */
	delta: Delta;
	/** changes that a running checkpoint merges into the tree */
	frozen: Delta | undefined;
	dirtyNodes = new Set<InodeId>();
	/** directory → cookies put or removed */
	dirtyEntries = new Map<InodeId, Set<number>>();
	dirtyCount = 0;
	epoch = 1;
	nextInode = 1;
	/** highest timestamp given out */
	clock = 0n;
	/** time of the last client write */
	lastWrite = 0n;

	constructor(readonly segmentBytes: number) {
		this.delta = new Delta(segmentBytes);
	}

	/** A timestamp above every earlier one, whatever the clock does. */
	stamp(now: bigint): bigint {
		this.clock = now > this.clock ? now : this.clock + 1n;
		return this.clock;
	}

	/** `position`: where the payload is in the log, for WRITE and MOVE. */
	apply(op: Operation, position: number): () => void {
		switch (op.type) {
			case WRITE:
			case ZERO:
				return this.#content(op, op.type === ZERO ? ZEROS : position);
			case MOVE:
				return this.delta.put(op.id, {
					start: op.offset,
					end: op.offset + op.length,
					position,
					epoch: op.epoch,
				});
			case PUT_INODE:
				return this.#putInode(op.node);
			case DELETE_INODE:
				return this.#deleteInode(op.id);
			case PUT_ENTRY: {
				const directory = this.directory(op.directory);
				directory.put(op.name, op.id, op.cookie);
				this.#dirtyEntry(op.directory, op.cookie);
				return () => void directory.delete(op.cookie);
			}
			case DELETE_ENTRY: {
				const directory = this.directory(op.directory);
				const entry = directory.delete(op.cookie);
				this.#dirtyEntry(op.directory, op.cookie);
				return () => {
					if (entry) directory.put(entry.name, entry.id, entry.cookie);
				};
			}
			case TRUNCATE:
				return this.#truncate(op.id, op.size, op.epoch, op.time);
			case REQUEST:
				return this.requests.add(op.key, op.reply);
		}
	}

	directory(id: InodeId): Directory {
		let directory = this.directories.get(id);
		if (!directory) {
			directory = new Directory();
			this.directories.set(id, directory);
		}
		return directory;
	}

	presenceOf(id: InodeId): Presence {
		let presence = this.presence.get(id);
		if (!presence) {
			presence = new Presence();
			this.presence.set(id, presence);
		}
		return presence;
	}

	/** Content bytes the overlay holds for a file; overwritten ones count until the next checkpoint. */
	heldBytes(node: Node): number {
		return node.held + (this.delta.bytes.get(node.id) ?? 0) + (this.frozen?.bytes.get(node.id) ?? 0);
	}

	dirtyNode(id: InodeId): void {
		if (this.dirtyNodes.has(id)) return;
		this.dirtyNodes.add(id);
		this.dirtyCount++;
	}

	#dirtyEntry(directory: InodeId, cookie: number): void {
		let cookies = this.dirtyEntries.get(directory);
		if (!cookies) {
			cookies = new Set();
			this.dirtyEntries.set(directory, cookies);
		}
		cookies.add(cookie);
		this.dirtyCount++;
	}

	#content(op: { id: InodeId; offset: number; length: number; epoch: number; time: bigint }, position: number) {
		const node = this.nodes.get(op.id);
		if (!node) throw new RangeError(`write to inode ${op.id}, which does not exist`);
		const end = op.offset + op.length;
		const undo = this.delta.put(op.id, { start: op.offset, end, position, epoch: op.epoch });
		const { size, mtime, ctime } = node;
		const lastWrite = this.lastWrite;
		this.presenceOf(op.id).mark(op.offset, end);
		node.size = Math.max(size, end);
		node.mtime = op.time;
		node.ctime = op.time;
		this.lastWrite = op.time;
		this.dirtyNode(op.id);
		return () => {
			undo();
			node.size = size;
			node.mtime = mtime;
			node.ctime = ctime;
			this.lastWrite = lastWrite;
		};
	}

	#truncate(id: InodeId, size: number, epoch: number, time: bigint): () => void {
		const node = this.nodes.get(id);
		if (!node) throw new RangeError(`truncation of inode ${id}, which does not exist`);
		const before = { ...node };
		const undo =
			size < node.size ? this.delta.put(id, { start: size, end: END, position: HOLE, epoch }) : () => undefined;
		if (size < node.size) {
			node.shrinks = noteShrink(node.shrinks, epoch, size);
			node.baseLimit = Math.min(node.baseLimit, size);
		}
		node.size = size;
		node.mtime = time;
		node.ctime = time;
		this.dirtyNode(id);
		return () => {
			undo();
			Object.assign(node, before);
		};
	}

	#putInode(node: Node): () => void {
		const before = this.nodes.get(node.id);
		const nextInode = this.nextInode;
		this.nodes.set(node.id, { ...node, held: before?.held ?? 0 });
		this.nextInode = Math.max(nextInode, node.id + 1);
		this.dirtyNode(node.id);
		return () => {
			if (before) this.nodes.set(node.id, before);
			else this.nodes.delete(node.id);
			this.nextInode = nextInode;
		};
	}

	#deleteInode(id: InodeId): () => void {
		const node = this.nodes.get(id);
		const directory = this.directories.get(id);
		this.nodes.delete(id);
		this.directories.delete(id);
		const undo =
			node?.kind === "file"
				? this.delta.put(id, { start: 0, end: END, position: HOLE, epoch: this.epoch })
				: () => undefined;
		this.dirtyNode(id);
		return () => {
			undo();
			if (node) this.nodes.set(id, node);
			if (directory) this.directories.set(id, directory);
		};
	}
}
