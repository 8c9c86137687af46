/** What every inode of a session has in common as a vfs node; symlinks and specials whole. */
import type { Inode, InodeId, RequestRecord } from "../overlay/contract.js";
import type {
	Attributes,
	Before,
	Caller,
	Change,
	Changed,
	Failed,
	FileKind,
	Maybe,
	Node,
	SetAttributes,
	SymlinkNode,
	TimeNs,
} from "../vfs/vfs.js";
import type { Datastore, ServedSession } from "./datastore.js";
import type { Scope } from "./handle.js";
import { failed } from "./status.js";

/** Where a node lives: which session, and through which export it was reached. */
export interface Place {
	datastore: Datastore;
	session: ServedSession;
	scope: Scope;
}

const ALL_ACCESS = 0x3f;
/** ACCESS3_MODIFY, EXTEND and DELETE */
const CHANGE_ACCESS = 0x04 | 0x08 | 0x10;

export abstract class SessionNode implements Node {
	abstract readonly kind: FileKind;
	private encoded?: Buffer;

	constructor(
		readonly place: Place,
		readonly id: InodeId,
	) {}

	get handle(): Buffer {
		this.encoded ??= this.place.datastore.handle({
			scope: this.place.scope,
			uuid: this.place.session.uuid,
			inode: this.id,
		});
		return this.encoded;
	}

	/** false once the inode was removed or the session is no longer served. */
	alive(): boolean {
		return this.place.session.tree.inode(this.id) !== undefined && this.place.datastore.isServed(this.place.session);
	}

	protected get tree() {
		return this.place.session.tree;
	}

	protected inode(): Inode | undefined {
		return this.place.session.tree.inode(this.id);
	}

	attributes(): Attributes {
		const inode = this.inode();
		if (!inode) throw new Error(`inode ${this.id} of session ${this.place.session.name} is gone`);
		return {
			kind: inode.kind,
			mode: inode.mode,
			nlink: inode.nlink,
			uid: inode.uid,
			gid: inode.gid,
			size: inode.size,
			used: inode.used,
			rdevMajor: inode.rdevMajor,
			rdevMinor: inode.rdevMinor,
			fsid: this.place.datastore.fsid,
			fileid: this.place.datastore.fileid(this.place.session, this.id),
			atime: inode.atime,
			mtime: inode.mtime,
			ctime: inode.ctime,
		};
	}

	/** Attributes for a reply; absent when the inode was removed meanwhile. */
	after(): Attributes | undefined {
		return this.inode() ? this.attributes() : undefined;
	}

	before(): Before | undefined {
		const inode = this.inode();
		return inode && { size: inode.size, mtime: inode.mtime, ctime: inode.ctime };
	}

	access(_caller: Caller, wanted: number): number {
		return wanted & (this.place.session.readOnly ? ALL_ACCESS & ~CHANGE_ACCESS : ALL_ACCESS);
	}

	setAttributes(caller: Caller, set: SetAttributes, guard?: TimeNs): Maybe<Changed | Failed> {
		const before = this.before();
		if (!before) return { status: "STALE" };
		if (this.place.session.readOnly) return this.refused("ROFS");
		if (guard !== undefined && guard !== before.ctime) return { status: "NOT_SYNC", change: this.unchanged() };
		if (set.size !== undefined && this.kind !== "file")
			return { status: this.kind === "directory" ? "ISDIR" : "INVAL", change: this.unchanged() };
		return this.changing(before, this.tree.change(this.id, set, requestRecord(caller)));
	}

	/** Runs one change of this inode and reports it with its true before and after. */
	protected async changing(before: Before, work: Promise<unknown>): Promise<Changed | Failed> {
		try {
			await work;
			return { status: "OK", change: { before, after: this.after() } };
		} catch (error) {
			return { ...failed(error), change: { before, after: this.after() } };
		}
	}

	protected unchanged(): Change {
		return { before: this.before(), after: this.after() };
	}

	protected refused(status: Failed["status"]): Failed {
		return { status, change: this.unchanged() };
	}
}

/** Stored with the effect; for what makes an entry, its name, so that a replay finds what was made. */
export function requestRecord(caller: Caller, made = ""): RequestRecord | undefined {
	return caller.request === undefined ? undefined : { key: caller.request, reply: Buffer.from(made, "latin1") };
}

export class SymlinkInode extends SessionNode implements SymlinkNode {
	readonly kind = "symlink";
	target(): Buffer {
		return this.inode()?.target ?? Buffer.alloc(0);
	}
}

export class SpecialInode extends SessionNode {
	constructor(
		place: Place,
		id: InodeId,
		readonly kind: "block" | "char" | "fifo" | "socket",
	) {
		super(place, id);
	}
}
