/** A directory of a session. Every change is durable before it is answered. */
import { type CreateSpec, type InodeId, OverlayError } from "../overlay/contract.js";
import {
	type Caller,
	type Changed,
	type CreateHow,
	type DirectoryEntry,
	type DirectoryNode,
	type Failed,
	type Made,
	type MakeWhat,
	type Maybe,
	NAME_MAX,
	type Node,
	type SetAttributes,
	type Status,
} from "../vfs/vfs.js";
import { requestRecord, SessionNode } from "./session-node.js";
import { failed } from "./status.js";

const COOKIE_DOT = 1n;
const COOKIE_DOTDOT = 2n;

export class DirectoryInode extends SessionNode implements DirectoryNode {
	readonly kind = "directory";

	lookup(name: string): Maybe<Node | Failed> {
		if (!this.inode()) return { status: "STALE" };
		if (name === ".") return this;
		if (name === "..") return this.parentNode();
		if (name.length > NAME_MAX) return { status: "NAMETOOLONG" };
		const id = this.tree.lookup(this.id, name);
		return (id !== undefined && this.child(id)) || { status: "NOENT" };
	}

	/** ".." never leaves the mounted root: a client must not reach other sessions through it. */
	private parentNode(): Node {
		const { datastore, scope } = this.place;
		if (this.id !== this.tree.root) return this.child(this.tree.parent(this.id)) ?? this;
		return scope === "session" ? this : datastore.rootDirectory;
	}

	private child(id: InodeId): Node | undefined {
		return this.place.datastore.node(this.place.session, this.place.scope, id);
	}

	entries(
		cookie: bigint,
		limit: number,
		withNodes: boolean,
	): { status: "OK"; entries: DirectoryEntry[]; end: boolean } | Failed {
		if (!this.inode()) return { status: "STALE" };
		const { datastore, session } = this.place;
		const entries: DirectoryEntry[] = [];
		if (cookie < COOKIE_DOT && entries.length < limit)
			entries.push({ name: ".", fileid: datastore.fileid(session, this.id), cookie: COOKIE_DOT, node: this });
		if (cookie < COOKIE_DOTDOT && entries.length < limit) {
			const parent = this.parentNode();
			entries.push({ name: "..", fileid: parent.attributes().fileid, cookie: COOKIE_DOTDOT, node: parent });
		}
		if (entries.length >= limit) return { status: "OK", entries, end: false };
		const after = cookie > COOKIE_DOTDOT ? cookie : COOKIE_DOTDOT;
		const list = this.tree.list(this.id, after, limit - entries.length);
		for (const { name, id, cookie: at } of list.entries)
			entries.push({
				name,
				cookie: at,
				fileid: datastore.fileid(session, id),
				node: withNodes ? this.child(id) : undefined,
			});
		return { status: "OK", entries, end: list.end };
	}

	async create(caller: Caller, name: string, how: CreateHow): Promise<Made | Failed> {
		const refusal = this.cannotAdd(name);
		if (refusal) return refusal;
		const before = this.before();
		const existing = this.tree.lookup(this.id, name);
		try {
			if (existing !== undefined) return await this.createOver(existing, how, before);
			const set = how.mode === "exclusive" ? {} : how.attributes;
			const spec: CreateSpec = { kind: "file", ...owner(caller, set, 0o644), size: set.size };
			if (how.mode === "exclusive") spec.verifier = how.verifier;
			return await this.made(caller, name, spec, set, before);
		} catch (error) {
			// Another client made the name while ours was on its way: answer as if it had been there.
			if (error instanceof OverlayError && error.code === "EEXIST" && existing === undefined)
				return this.create(caller, name, how);
			return { ...failed(error), change: { before, after: this.after() } };
		}
	}

	/** CREATE of a name that exists (RFC 1813 section 3.3.8). */
	private async createOver(id: InodeId, how: CreateHow, before: ReturnType<DirectoryInode["before"]>) {
		const inode = this.tree.inode(id);
		const change = () => ({ before, after: this.after() });
		if (inode?.kind !== "file" || how.mode === "guarded") return { status: "EXIST" as Status, change: change() };
		if (how.mode === "exclusive") {
			if (!inode.verifier?.equals(how.verifier)) return { status: "EXIST" as Status, change: change() };
		} else if (how.attributes.size !== undefined) await this.tree.change(id, { size: how.attributes.size });
		const node = this.child(id);
		if (!node) return { status: "STALE" as Status, change: change() };
		return { status: "OK" as const, node, attributes: node.attributes(), change: change() };
	}

	async make(caller: Caller, name: string, what: MakeWhat): Promise<Made | Failed> {
		const refusal = this.cannotAdd(name);
		if (refusal) return refusal;
		const before = this.before();
		const set = what.attributes;
		const mode = what.kind === "directory" ? 0o755 : what.kind === "symlink" ? 0o777 : 0o644;
		const spec: CreateSpec = { kind: what.kind, ...owner(caller, set, mode) };
		if (what.kind === "symlink") spec.target = Buffer.from(what.target);
		if (what.kind === "block" || what.kind === "char") {
			spec.rdevMajor = what.major;
			spec.rdevMinor = what.minor;
		}
		try {
			return await this.made(caller, name, spec, set, before);
		} catch (error) {
			return { ...failed(error), change: { before, after: this.after() } };
		}
	}

	private async made(
		caller: Caller,
		name: string,
		spec: CreateSpec,
		set: SetAttributes,
		before: ReturnType<DirectoryInode["before"]>,
	): Promise<Made> {
		const inode = await this.tree.create(this.id, name, spec, requestRecord(caller, name));
		if (set.atime !== undefined || set.mtime !== undefined)
			await this.tree.change(inode.id, { atime: set.atime, mtime: set.mtime });
		const node = this.child(inode.id);
		if (!node) throw new OverlayError("ESTALE", `${name} was removed while it was made`);
		return { status: "OK", node, attributes: node.attributes(), change: { before, after: this.after() } };
	}

	remove(caller: Caller, name: string): Maybe<Changed | Failed> {
		return this.removing(name, () => this.tree.remove(this.id, name, requestRecord(caller)));
	}

	removeDirectory(caller: Caller, name: string): Maybe<Changed | Failed> {
		if (name === ".") return this.refused("INVAL");
		if (name === "..") return this.refused("EXIST");
		return this.removing(name, () => this.tree.removeDirectory(this.id, name, requestRecord(caller)));
	}

	private removing(name: string, work: () => Promise<void>): Maybe<Changed | Failed> {
		const before = this.before();
		if (!before) return { status: "STALE" };
		if (this.place.session.readOnly) return this.refused("ROFS");
		const bad = badName(name);
		if (bad) return this.refused(bad);
		return this.changing(before, work());
	}

	async rename(
		caller: Caller,
		name: string,
		to: DirectoryNode,
		toName: string,
	): Promise<Awaited<ReturnType<DirectoryNode["rename"]>>> {
		if (!(to instanceof DirectoryInode) || to.place.session !== this.place.session)
			return { status: "XDEV" as Status, from: this.unchanged(), to: { after: to.attributes() } };
		const fromBefore = this.before();
		const toBefore = to.before();
		const changes = () => ({
			from: { before: fromBefore, after: this.after() },
			to: { before: toBefore, after: to.after() },
		});
		if (!fromBefore || !toBefore) return { status: "STALE" as Status };
		const bad = badName(name) ?? badName(toName);
		if (bad) return { status: bad, ...changes() };
		if (this.place.session.readOnly) return { status: "ROFS" as Status, ...changes() };
		try {
			await this.tree.rename(this.id, name, to.id, toName, requestRecord(caller));
			return { status: "OK" as const, ...changes() };
		} catch (error) {
			return { ...failed(error), ...changes() };
		}
	}

	async link(caller: Caller, target: Node, name: string): Promise<Awaited<ReturnType<DirectoryNode["link"]>>> {
		const refusal = this.cannotAdd(name);
		if (refusal) return refusal;
		if (!(target instanceof SessionNode) || target.place.session !== this.place.session)
			return { ...this.refused("XDEV"), after: target.attributes() };
		if (target.kind === "directory") return { ...this.refused("ISDIR"), after: target.attributes() };
		const before = this.before();
		try {
			await this.tree.link(target.id, this.id, name, requestRecord(caller, name));
			return { status: "OK" as const, after: target.attributes(), change: { before, after: this.after() } };
		} catch (error) {
			return { ...failed(error), change: { before, after: this.after() }, after: target.after() };
		}
	}

	private cannotAdd(name: string): Failed | undefined {
		if (!this.inode()) return { status: "STALE" };
		if (this.place.session.readOnly) return this.refused("ROFS");
		const bad = badName(name);
		return bad && this.refused(name === "." || name === ".." ? "EXIST" : bad);
	}
}

/** RFC 1813 section 3.2: a server may refuse names it cannot hold; "." and ".." are never entries. */
function badName(name: string): Status | undefined {
	if (name.length > NAME_MAX) return "NAMETOOLONG";
	if (name === "" || name === "." || name === "..") return "INVAL";
	return name.includes("/") || name.includes("\0") ? "INVAL" : undefined;
}

function owner(caller: Caller, set: SetAttributes, mode: number) {
	return { mode: set.mode ?? mode, uid: set.uid ?? caller.uid, gid: set.gid ?? caller.gid };
}
