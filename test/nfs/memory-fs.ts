/**
 * A complete in-memory file system behind the vfs contract, for exercising the NFS adapter: several exports, all
 * node kinds, exact wcc data, injectable delays and errors. File content is kept in 64 KiB blocks, as a block
 * cache would hand it out.
 */

import { isFailed } from "../../src/vfs/failed.js";
import type {
	Attributes,
	Caller,
	Change,
	Changed,
	CreateHow,
	DirectoryEntry,
	DirectoryNode,
	ExportEntry,
	Failed,
	FileKind,
	FileNode,
	FileSystem,
	FileSystemStatus,
	Made,
	MakeWhat,
	Maybe,
	Node,
	ReadData,
	Replayed,
	SetAttributes,
	Stability,
	Status,
	SymlinkNode,
	Written,
} from "../../src/vfs/vfs.js";

const BLOCK = 64 * 1024;
const ZEROS = Buffer.alloc(BLOCK);
const HANDLE_MAGIC = 0x53_42_4d_46;

/** What tests may bend. */
export interface Behaviour {
	/** every result comes as a promise */
	asynchronous?: boolean;
	/** awaited before a WRITE or a change of names is carried out */
	gate?: () => Promise<void>;
	/** thrown by the named operation */
	throws?: { operation: string; error: Error };
	/** the status that the named operation fails with */
	fails?: { operation: string; status: Status };
	/** called once per ReadData.release */
	onRelease?: () => void;
}

export class MemoryFileSystem implements FileSystem {
	readonly behaviour: Behaviour = {};
	readonly nodes = new Map<bigint, MemoryNode>();
	readonly root: MemoryDirectory;
	verifier = Buffer.from("verifier");
	exported: ExportEntry[];
	/** outcomes of requests, as a durable session would keep them */
	readonly outcomes = new Map<string, bigint | undefined>();
	/** how many operations that change names were carried out */
	changes = 0;
	space: FileSystemStatus = {
		totalBytes: 1e12,
		freeBytes: 5e11,
		availableBytes: 4e11,
		totalFiles: 1e6,
		freeFiles: 9e5,
	};
	#nextId = 1n;
	#clock = 1_700_000_000_000_000_000n;

	constructor(paths: readonly string[] = ["/springback", "/springback/one"]) {
		this.root = new MemoryDirectory(this, undefined);
		this.exported = paths.map((path) => ({ path, clients: ["127.0.0.1", "::1"], readOnly: false, ownerUid: 0 }));
		for (const path of paths) this.directory(path);
	}

	nextId(): bigint {
		return this.#nextId++;
	}

	/** Strictly growing. */
	tick(): bigint {
		this.#clock += 1_000_003n;
		return this.#clock;
	}

	/** The directory at a path, made when it is not there. */
	directory(path: string): MemoryDirectory {
		let at = this.root;
		for (const part of path.split("/").filter(Boolean)) {
			const next = at.children.get(part)?.node;
			at = next instanceof MemoryDirectory ? next : at.add(part, new MemoryDirectory(this, at));
		}
		return at;
	}

	file(path: string, content: Buffer = Buffer.alloc(0)): MemoryFile {
		const slash = path.lastIndexOf("/");
		const file = this.directory(path.slice(0, slash)).add(path.slice(slash + 1), new MemoryFile(this));
		file.put(0, content);
		return file;
	}

	writeVerifier(): Buffer {
		return this.verifier;
	}

	resolve(handle: Buffer): Node | Failed {
		if (handle.length !== 24 || handle.readUInt32BE(0) !== HANDLE_MAGIC) return { status: "BADHANDLE" };
		return this.nodes.get(handle.readBigUInt64BE(4)) ?? { status: "STALE" };
	}

	exportRoot(path: string): DirectoryNode | Failed {
		return this.exported.some((entry) => entry.path === path) ? this.directory(path) : { status: "NOENT" };
	}

	exports(): ExportEntry[] {
		return this.exported;
	}

	status(): FileSystemStatus {
		return this.space;
	}

	replayed(_at: Node, request: string): Replayed | undefined {
		if (!this.outcomes.has(request)) return undefined;
		const id = this.outcomes.get(request);
		return { node: id === undefined ? undefined : this.nodes.get(id) };
	}

	/** Applies the injected errors and delays. */
	perform<T>(operation: string, act: () => T): Maybe<T | Failed> {
		const { throws, fails, asynchronous, gate } = this.behaviour;
		const run = (): T | Failed => {
			if (throws?.operation === operation) throw throws.error;
			if (fails?.operation === operation) return { status: fails.status };
			return act();
		};
		if (gate !== undefined && operation !== "read" && operation !== "lookup") return gate().then(run);
		return asynchronous ? Promise.resolve().then(run) : run();
	}

	remember(caller: Caller, made?: MemoryNode): void {
		this.changes++;
		if (caller.request !== undefined) this.outcomes.set(caller.request, made?.fileid);
	}
}

export abstract class MemoryNode implements Node {
	abstract readonly kind: FileKind;
	readonly fileid: bigint;
	readonly handle: Buffer;
	readonly fs: MemoryFileSystem;
	mode = 0o644;
	uid = 0;
	gid = 0;
	nlink = 1;
	rdevMajor = 0;
	rdevMinor = 0;
	atime: bigint;
	mtime: bigint;
	ctime: bigint;

	constructor(fs: MemoryFileSystem) {
		this.fs = fs;
		this.fileid = fs.nextId() + 0x1234_5678_0000_0000n;
		this.handle = Buffer.alloc(24, 0xa5);
		this.handle.writeUInt32BE(HANDLE_MAGIC, 0);
		this.handle.writeBigUInt64BE(this.fileid, 4);
		const now = fs.tick();
		this.atime = now;
		this.mtime = now;
		this.ctime = now;
		fs.nodes.set(this.fileid, this);
	}

	abstract get size(): number;

	attributes(): Attributes {
		return {
			kind: this.kind,
			mode: this.mode,
			nlink: this.nlink,
			uid: this.uid,
			gid: this.gid,
			size: this.size,
			used: Math.ceil(this.size / 512) * 512,
			rdevMajor: this.rdevMajor,
			rdevMinor: this.rdevMinor,
			fsid: 0x5b5b_0001n,
			fileid: this.fileid,
			atime: this.atime,
			mtime: this.mtime,
			ctime: this.ctime,
		};
	}

	/** Runs a change and tells how the attributes moved. */
	changed(act: () => void): Change {
		const before = { size: this.size, mtime: this.mtime, ctime: this.ctime };
		act();
		this.ctime = this.fs.tick();
		return { before, after: this.attributes() };
	}

	setAttributes(caller: Caller, set: SetAttributes, guard?: bigint): Maybe<Changed | Failed> {
		return this.fs.perform("setAttributes", () => {
			if (guard !== undefined && guard !== this.ctime) return { status: "NOT_SYNC" };
			const change = this.changed(() => this.apply(set));
			this.fs.remember(caller);
			return { status: "OK", change };
		});
	}

	apply(set: SetAttributes): void {
		if (set.mode !== undefined) this.mode = set.mode;
		if (set.uid !== undefined) this.uid = set.uid;
		if (set.gid !== undefined) this.gid = set.gid;
		if (set.size !== undefined && this instanceof MemoryFile) this.truncate(set.size);
		if (set.atime !== undefined) this.atime = set.atime === "now" ? this.fs.tick() : set.atime;
		if (set.mtime !== undefined) this.mtime = set.mtime === "now" ? this.fs.tick() : set.mtime;
	}

	access(_caller: Caller, wanted: number): number {
		return wanted;
	}
}

export class MemoryFile extends MemoryNode implements FileNode {
	override readonly kind = "file";
	/** by number; a map, because files may be sparse and larger than an array */
	readonly blocks = new Map<number, Buffer>();
	createVerifier: Buffer | undefined;
	length = 0;
	/** what writes were asked for */
	readonly stabilities: Stability[] = [];
	#attributes: Attributes | undefined;

	get size(): number {
		return this.length;
	}

	override attributes(): Attributes {
		// The same object while nothing changes, as a datastore would.
		const known = this.#attributes;
		if (known?.ctime === this.ctime && known.size === this.length && known.nlink === this.nlink) return known;
		this.#attributes = super.attributes();
		return this.#attributes;
	}

	truncate(size: number): void {
		for (const index of this.blocks.keys()) if (index >= size / BLOCK) this.blocks.delete(index);
		this.blocks.get(Math.floor(size / BLOCK))?.fill(0, size % BLOCK);
		this.length = size;
	}

	put(offset: number, data: Buffer): void {
		for (let done = 0; done < data.length; ) {
			const index = Math.floor((offset + done) / BLOCK);
			const within = (offset + done) % BLOCK;
			const part = Math.min(BLOCK - within, data.length - done);
			const block = this.blocks.get(index) ?? Buffer.alloc(BLOCK);
			this.blocks.set(index, block);
			data.copy(block, within, done, done + part);
			done += part;
		}
		this.length = Math.max(this.length, offset + data.length);
	}

	read(offset: number, count: number): Maybe<ReadData | Failed> {
		if (this.fs.behaviour.throws || this.fs.behaviour.fails || this.fs.behaviour.asynchronous) {
			return this.fs.perform("read", () => this.slices(offset, count));
		}
		return this.slices(offset, count);
	}

	slices(offset: number, count: number): ReadData {
		const end = Math.min(offset + count, this.length);
		const data: Buffer[] = [];
		for (let at = offset; at < end; ) {
			const within = at % BLOCK;
			const part = Math.min(BLOCK - within, end - at);
			const block = this.blocks.get(Math.floor(at / BLOCK)) ?? ZEROS;
			data.push(block.subarray(within, within + part));
			at += part;
		}
		return {
			status: "OK",
			data,
			count: Math.max(0, end - offset),
			eof: offset + count >= this.length,
			after: this.attributes(),
			release: this.fs.behaviour.onRelease,
		};
	}

	content(): Buffer {
		return Buffer.concat(this.slices(0, this.length).data);
	}

	write(offset: number, data: Buffer, stability: Stability): Maybe<Written | Failed> {
		return this.fs.perform("write", () => {
			this.stabilities.push(stability);
			const change = this.changed(() => {
				this.put(offset, data);
				this.mtime = this.fs.tick();
			});
			return { status: "OK", count: data.length, committed: stability, change };
		});
	}

	commit(): Maybe<Changed | Failed> {
		return this.fs.perform("commit", () => {
			const { size, mtime, ctime } = this;
			return { status: "OK", change: { before: { size, mtime, ctime }, after: this.attributes() } };
		});
	}
}

export class MemorySpecial extends MemoryNode implements SymlinkNode {
	override readonly kind: "symlink";
	readonly #target: Buffer;

	constructor(fs: MemoryFileSystem, what: Exclude<MakeWhat, { kind: "directory" }>) {
		super(fs);
		this.kind = what.kind as "symlink";
		this.#target = what.kind === "symlink" ? what.target : Buffer.alloc(0);
		if (what.kind === "block" || what.kind === "char") {
			this.rdevMajor = what.major;
			this.rdevMinor = what.minor;
		}
	}

	get size(): number {
		return this.#target.length;
	}

	target(): Buffer {
		return this.#target;
	}
}

export class MemoryDirectory extends MemoryNode implements DirectoryNode {
	override readonly kind = "directory";
	readonly children = new Map<string, { node: MemoryNode; cookie: bigint }>();
	parent: MemoryDirectory;
	#nextCookie = 3n;

	constructor(fs: MemoryFileSystem, parent: MemoryDirectory | undefined) {
		super(fs);
		this.parent = parent ?? this;
		this.mode = 0o755;
		this.nlink = 2;
	}

	get size(): number {
		return 4096;
	}

	add<T extends MemoryNode>(name: string, node: T): T {
		this.children.set(name, { node, cookie: this.#nextCookie++ });
		if (node instanceof MemoryDirectory) node.parent = this;
		return node;
	}

	#touch(act: () => void): Change {
		return this.changed(() => {
			act();
			this.mtime = this.fs.tick();
		});
	}

	lookup(name: string): Maybe<Node | Failed> {
		return this.fs.perform<Node | Failed>("lookup", () => {
			if (name === ".") return this;
			if (name === "..") return this.parent;
			return this.children.get(name)?.node ?? { status: "NOENT" };
		});
	}

	create(caller: Caller, name: string, how: CreateHow): Maybe<Made | Failed> {
		return this.fs.perform("create", () => {
			const old = this.children.get(name)?.node;
			if (old !== undefined) return this.#createOver(caller, old, how);
			const file = new MemoryFile(this.fs);
			file.uid = caller.uid;
			file.gid = caller.gid;
			if (how.mode === "exclusive") file.createVerifier = how.verifier;
			else file.apply(how.attributes);
			const change = this.#touch(() => this.add(name, file));
			this.fs.remember(caller, file);
			return { status: "OK", node: file, attributes: file.attributes(), change };
		});
	}

	#createOver(caller: Caller, old: MemoryNode, how: CreateHow): Made | Failed {
		const change = { after: this.attributes() };
		if (how.mode === "guarded" || !(old instanceof MemoryFile)) return { status: "EXIST", change };
		if (how.mode === "exclusive") {
			if (old.createVerifier === undefined || !old.createVerifier.equals(how.verifier))
				return { status: "EXIST", change };
		} else {
			old.changed(() => old.apply(how.attributes));
			this.fs.remember(caller, old);
		}
		return { status: "OK", node: old, attributes: old.attributes(), change };
	}

	make(caller: Caller, name: string, what: MakeWhat): Maybe<Made | Failed> {
		return this.fs.perform("make", () => {
			if (this.children.has(name)) return { status: "EXIST" };
			const node: MemoryNode =
				what.kind === "directory" ? new MemoryDirectory(this.fs, this) : new MemorySpecial(this.fs, what);
			node.apply(what.attributes);
			const change = this.#touch(() => {
				this.add(name, node);
				if (what.kind === "directory") this.nlink++;
			});
			this.fs.remember(caller, node);
			return { status: "OK", node, attributes: node.attributes(), change };
		});
	}

	remove(caller: Caller, name: string): Maybe<Changed | Failed> {
		return this.fs.perform("remove", () => {
			const node = this.children.get(name)?.node;
			if (node === undefined) return { status: "NOENT" };
			if (node instanceof MemoryDirectory) return { status: "ISDIR" };
			return this.#drop(caller, name, node);
		});
	}

	removeDirectory(caller: Caller, name: string): Maybe<Changed | Failed> {
		return this.fs.perform("removeDirectory", () => {
			const node = this.children.get(name)?.node;
			if (node === undefined) return { status: "NOENT" };
			if (!(node instanceof MemoryDirectory)) return { status: "NOTDIR" };
			if (node.children.size > 0) return { status: "NOTEMPTY" };
			return this.#drop(caller, name, node);
		});
	}

	#drop(caller: Caller, name: string, node: MemoryNode): Changed {
		const change = this.#touch(() => {
			this.children.delete(name);
			this.#unlink(node);
		});
		this.fs.remember(caller);
		return { status: "OK", change };
	}

	#unlink(node: MemoryNode): void {
		if (node instanceof MemoryDirectory) this.nlink--;
		node.nlink = node instanceof MemoryDirectory ? 0 : node.nlink - 1;
		if (node.nlink === 0) this.fs.nodes.delete(node.fileid);
	}

	rename(
		caller: Caller,
		name: string,
		to: DirectoryNode,
		toName: string,
	): Maybe<{ status: "OK"; from: Change; to: Change } | Failed> {
		return this.fs.perform("rename", () => {
			const target = to as MemoryDirectory;
			const node = this.children.get(name)?.node;
			if (node === undefined) return { status: "NOENT" };
			const old = target.children.get(toName)?.node;
			if (old instanceof MemoryDirectory && !(node instanceof MemoryDirectory)) return { status: "ISDIR" };
			if (old instanceof MemoryDirectory && old.children.size > 0) return { status: "NOTEMPTY" };
			let toChange: Change = {};
			const from = this.#touch(() => {
				this.children.delete(name);
				toChange = target.#touch(() => {
					if (old !== undefined) target.#unlink(old);
					target.add(toName, node);
				});
			});
			this.fs.remember(caller);
			return { status: "OK", from, to: toChange };
		});
	}

	link(
		caller: Caller,
		target: Node,
		name: string,
	): Maybe<{ status: "OK"; after: Attributes; change: Change } | (Failed & { after?: Attributes })> {
		return this.fs.perform("link", () => {
			const node = target as MemoryNode;
			if (node instanceof MemoryDirectory) return { status: "INVAL" };
			if (this.children.has(name)) return { status: "EXIST" };
			const change = this.#touch(() => {
				this.add(name, node);
				node.changed(() => node.nlink++);
			});
			this.fs.remember(caller, node);
			return { status: "OK", after: node.attributes(), change };
		});
	}

	entries(
		cookie: bigint,
		limit: number,
		withNodes: boolean,
	): Maybe<{ status: "OK"; entries: DirectoryEntry[]; end: boolean } | Failed> {
		return this.fs.perform("entries", () => {
			const all: DirectoryEntry[] = [
				{ name: ".", fileid: this.fileid, cookie: 1n, node: this },
				{ name: "..", fileid: this.parent.fileid, cookie: 2n, node: this.parent },
			];
			for (const [name, { node, cookie: own }] of this.children) {
				all.push({ name, fileid: node.fileid, cookie: own, node });
			}
			all.sort((a, b) => (a.cookie < b.cookie ? -1 : 1));
			const after = all.filter((entry) => entry.cookie > cookie);
			const entries = after.slice(0, limit).map((entry) => (withNodes ? entry : { ...entry, node: undefined }));
			return { status: "OK", entries, end: entries.length === after.length };
		});
	}
}

/** For tests: the value or a thrown failure. */
export function must<T extends object>(value: T | Failed): T {
	if (isFailed(value)) throw new Error(value.status);
	return value;
}
