/** The `/springback` directory: one folder per served session, read-only itself. */
import type { Attributes, Caller, Changed, DirectoryEntry, DirectoryNode, Failed, Made, Node } from "../vfs/vfs.js";
import type { Datastore } from "./datastore.js";

const ROOT_FILEID = 1n;
/** Cookies 1 and 2 are "." and ".."; a session's cookie is its number + 2, so it never changes. */
const COOKIE_BASE = 2n;
const READ_LOOKUP_EXECUTE = 0x1 | 0x2 | 0x20;

export class RootDirectory implements DirectoryNode {
	readonly kind = "directory";
	readonly handle: Buffer;
	private changed: bigint;

	constructor(private readonly datastore: Datastore) {
		this.handle = datastore.rootHandle;
		this.changed = datastore.options.now();
	}

	/** The set of sessions changed. */
	touch(): void {
		const now = this.datastore.options.now();
		this.changed = now > this.changed ? now : this.changed + 1n;
	}

	attributes(): Attributes {
		const { ownerUid } = this.datastore.options;
		return {
			kind: "directory",
			mode: 0o755,
			nlink: 2 + this.datastore.sessions.size,
			uid: ownerUid,
			gid: 0,
			size: 4096,
			used: 4096,
			rdevMajor: 0,
			rdevMinor: 0,
			fsid: this.datastore.fsid,
			fileid: ROOT_FILEID,
			atime: this.changed,
			mtime: this.changed,
			ctime: this.changed,
		};
	}

	access(_caller: Caller, wanted: number): number {
		return wanted & READ_LOOKUP_EXECUTE;
	}

	lookup(name: string): Node | Failed {
		if (name === "." || name === "..") return this;
		const session = this.datastore.sessions.get(name);
		return session ? this.datastore.sessionRoot(session, "all") : { status: "NOENT" };
	}

	entries(
		cookie: bigint,
		limit: number,
		withNodes: boolean,
	): { status: "OK"; entries: DirectoryEntry[]; end: boolean } {
		const all: DirectoryEntry[] = [
			{ name: ".", fileid: ROOT_FILEID, cookie: 1n, node: this },
			{ name: "..", fileid: ROOT_FILEID, cookie: 2n, node: this },
		];
		const sessions = [...this.datastore.sessions.values()].sort((a, b) => a.number - b.number);
		for (const session of sessions) {
			all.push({
				name: session.name,
				fileid: this.datastore.fileid(session, session.tree.root),
				cookie: BigInt(session.number) + COOKIE_BASE,
				node: withNodes ? this.datastore.sessionRoot(session, "all") : undefined,
			});
		}
		const rest = all.filter((entry) => entry.cookie > cookie);
		return { status: "OK", entries: rest.slice(0, limit), end: rest.length <= limit };
	}

	setAttributes(): Changed | Failed {
		return this.refuse();
	}
	create(): Made | Failed {
		return this.refuse();
	}
	make(): Made | Failed {
		return this.refuse();
	}
	remove(): Changed | Failed {
		return this.refuse();
	}
	removeDirectory(): Changed | Failed {
		return this.refuse();
	}
	rename(): Failed {
		return this.refuse();
	}
	link(): Failed {
		return this.refuse();
	}

	/** Sessions come and go by `publish` and `finish`, not by a client's hand. */
	private refuse(): Failed {
		return { status: "ROFS", change: { after: this.attributes() } };
	}
}
