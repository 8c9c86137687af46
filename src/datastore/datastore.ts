/**
 * The published FileSystem: `/springback` holds every served session, `/springback/NAME` is one. Sessions are
 * added and removed while clients are connected; one fsid for all; a fileid joins session number and inode.
 *
 * Access is decided by the export (address list, socket owner); modes are kept and shown but not enforced,
 * because hypervisors act as root and their datastores are not squashed.
 */
import { sys } from "../../native/index.js";
import type { SessionTree } from "../overlay/contract.js";
import type {
	DirectoryNode,
	ExportEntry,
	Failed,
	FileSystem,
	FileSystemStatus,
	Node,
	Replayed,
	RequestKey,
	Volume,
} from "../vfs/vfs.js";
import { DirectoryInode } from "./directory-node.js";
import { FileInode } from "./file-node.js";
import { HandleCodec, type HandleFields, type Scope } from "./handle.js";
import type { DatastoreIdentity } from "./identity.js";
import { ReadBuffers } from "./read-buffers.js";
import { RootDirectory } from "./root-node.js";
import { type Place, SessionNode, SpecialInode, SymlinkInode } from "./session-node.js";

/** A session being served. */
export interface ServedSession {
	/** 16 bytes */
	uuid: Buffer;
	/** 1 to 2^23 - 1, never reused: the upper bits of its fileids and its place in /springback */
	number: number;
	/** folder name; letters, digits, ".", "_", "-" */
	name: string;
	tree: SessionTree;
	/** addresses or CIDR networks */
	clients: readonly string[];
	readOnly: boolean;
	/** only for clients that come from a port below 1024, however they reach it */
	privilegedPorts?: boolean;
	/**
	 * Unstable writes are made stable too: for clients that do not send them again when the write verifier changed
	 * (libnfs, so QEMU's nfs://), to which a power loss of the server would otherwise be invisible.
	 */
	sync: boolean;
	ownerUid: number;
	/** what its requests are counted under; made when it is served */
	volume?: Volume;
}

export interface DatastoreOptions {
	identity: DatastoreIdentity;
	/** ns since the epoch */
	now: () => bigint;
	/** where sessions live: its file system's space is reported while none is served */
	directory: string;
	/** uid of the mount process, owner of /springback */
	ownerUid: number;
	/** addresses allowed to mount /springback */
	clients: readonly string[];
	/** /springback only for clients that come from a port below 1024 */
	privilegedPorts?: boolean;
	/** one line per event worth a human's eye, e.g. a read error on a damaged pack */
	log: (line: string) => void;
}

const FILEID_INODE_BITS = 40n;
/** Bounded: a scan of a large directory must not keep every node for ever. */
const RESOLVED_MAX = 16384;
const ROOT_UUID = Buffer.alloc(16);
const ROOT_INODE = 1;

export class Datastore implements FileSystem {
	readonly fsid: bigint;
	readonly readBuffers = new ReadBuffers();
	readonly sessions = new Map<string, ServedSession>();
	private readonly byUuid = new Map<string, ServedSession>();
	/** uuids of sessions that will be served, but are not yet */
	private readonly expected = new Set<string>();
	private readonly codec: HandleCodec;
	private readonly resolved = new Map<string, Node>();
	private readonly root: RootDirectory;
	private readonly verifier: Buffer;
	private readonly rootExport: readonly ExportEntry[];
	/** for what lies in a session that wants privileged ports, seen through /springback */
	private readonly privilegedRootExport: readonly ExportEntry[];
	/** connections that named a node of the session */
	private readonly users = new Map<ServedSession, Set<object>>();
	private readonly sessionExports = new WeakMap<ServedSession, readonly ExportEntry[]>();

	constructor(readonly options: DatastoreOptions) {
		this.fsid = options.identity.fsid;
		this.codec = new HandleCodec(options.identity.handleKey);
		this.verifier = Buffer.alloc(8);
		this.verifier.writeBigUInt64BE(options.now() & 0x7fffffffffffffffn);
		this.root = new RootDirectory(this);
		const { clients, privilegedPorts, ownerUid } = options;
		const root = { path: "/springback", clients, readOnly: false, ownerUid };
		this.rootExport = [{ ...root, privilegedPorts }];
		this.privilegedRootExport = [{ ...root, privilegedPorts: true }];
	}

	/**
	 * A session is still being opened: until `add`, or until it is expected no longer, its handles are answered JUKEBOX
	 * (try again later, RFC 1813 section 2.6) and not STALE, which clients take for the end.
	 */
	expect(uuid: Buffer, expected: boolean): void {
		const key = uuid.toString("latin1");
		if (expected) this.expected.add(key);
		else this.expected.delete(key);
	}

	add(session: ServedSession): void {
		if (this.sessions.has(session.name)) throw new Error(`session "${session.name}" is served already`);
		this.expect(session.uuid, false);
		session.volume = { name: session.name };
		this.sessions.set(session.name, session);
		this.users.set(session, new Set());
		this.byUuid.set(session.uuid.toString("latin1"), session);
		this.root.touch();
	}

	/** Handles into the session become stale at once; the caller closes the tree. */
	remove(name: string): ServedSession | undefined {
		const session = this.sessions.get(name);
		if (!session) return undefined;
		this.sessions.delete(name);
		this.users.delete(session);
		this.byUuid.delete(session.uuid.toString("latin1"));
		this.resolved.clear();
		this.root.touch();
		return session;
	}

	isServed(session: ServedSession): boolean {
		return this.sessions.get(session.name) === session;
	}

	/** The vfs node of an inode; undefined when the inode is gone. */
	node(session: ServedSession, scope: Scope, id: number): Node | undefined {
		const inode = session.tree.inode(id);
		if (!inode) return undefined;
		const place = { datastore: this, session, scope };
		switch (inode.kind) {
			case "file":
				return new FileInode(place, id);
			case "directory":
				return new DirectoryInode(place, id);
			case "symlink":
				return new SymlinkInode(place, id);
			default:
				return new SpecialInode(place, id, inode.kind);
		}
	}

	sessionRoot(session: ServedSession, scope: Scope): DirectoryNode {
		return new DirectoryInode({ datastore: this, session, scope }, session.tree.root);
	}

	get rootDirectory(): DirectoryNode {
		return this.root;
	}

	handle(fields: HandleFields): Buffer {
		return this.codec.encode(fields);
	}

	get rootHandle(): Buffer {
		return this.codec.encode({ scope: "all", uuid: ROOT_UUID, inode: ROOT_INODE });
	}

	fileid(session: ServedSession, id: number): bigint {
		return (BigInt(session.number) << FILEID_INODE_BITS) | BigInt(id);
	}

	// ---- FileSystem

	writeVerifier(handle: Buffer): Buffer {
		const node = this.resolve(handle);
		return node instanceof FileInode ? node.place.session.tree.writeVerifier : this.verifier;
	}

	resolve(handle: Buffer): Node | Failed {
		const key = handle.toString("latin1");
		const known = this.resolved.get(key);
		if (known) {
			if (known === this.root) return known;
			if ((known as FileInode).alive()) return known;
			this.resolved.delete(key);
			return { status: "STALE" };
		}
		const fields = this.codec.decode(handle);
		if (!fields) return { status: "BADHANDLE" };
		let node: Node | undefined;
		if (fields.uuid.equals(ROOT_UUID)) node = fields.inode === ROOT_INODE ? this.root : undefined;
		else {
			const uuid = fields.uuid.toString("latin1");
			const session = this.byUuid.get(uuid);
			if (!session && this.expected.has(uuid)) return { status: "JUKEBOX" };
			if (session) node = this.node(session, fields.scope, fields.inode);
		}
		if (!node) return { status: "STALE" };
		if (this.resolved.size >= RESOLVED_MAX) this.resolved.clear();
		this.resolved.set(key, node);
		return node;
	}

	exportRoot(path: string): DirectoryNode | Failed {
		if (path === "/springback") return this.root;
		if (!path.startsWith("/springback/")) return { status: "NOENT" };
		const session = this.sessions.get(path.slice("/springback/".length));
		return session ? this.sessionRoot(session, "session") : { status: "NOENT" };
	}

	exports(): ExportEntry[] {
		const entries = [...this.rootExport];
		for (const session of this.sessions.values()) entries.push(...this.sessionExport(session));
		return entries;
	}

	/** A handle says through which export its node was reached, and only that one admits its bearer. */
	exportsOf(node: Node): readonly ExportEntry[] {
		const place = placeOf(node);
		if (place?.scope === "session") return this.sessionExport(place.session);
		return place?.session.privilegedPorts ? this.privilegedRootExport : this.rootExport;
	}

	private sessionExport(session: ServedSession): readonly ExportEntry[] {
		let entry = this.sessionExports.get(session);
		if (!entry) {
			const { name, clients, readOnly, privilegedPorts, ownerUid } = session;
			entry = [{ path: `/springback/${name}`, clients, readOnly, privilegedPorts, ownerUid }];
			this.sessionExports.set(session, entry);
		}
		return entry;
	}

	using(node: Node, connection: object): void {
		const session = placeOf(node)?.session;
		if (session) this.users.get(session)?.add(connection);
	}

	left(connection: object): void {
		for (const users of this.users.values()) users.delete(connection);
	}

	volume(node: Node): Volume | undefined {
		return placeOf(node)?.session.volume;
	}

	/** A client is connected that named something of this session: its VM may be running. */
	inUse(session: ServedSession): boolean {
		return (this.users.get(session)?.size ?? 0) > 0;
	}

	replayed(at: Node, request: RequestKey): Replayed | undefined {
		const place = placeOf(at);
		const reply = place?.session.tree.request(request);
		if (!place || !reply) return undefined;
		if (!(at instanceof DirectoryInode) || reply.length === 0) return {};
		const id = place.session.tree.lookup(at.id, reply.toString("latin1"));
		return { node: id === undefined ? undefined : this.node(place.session, place.scope, id) };
	}

	status(node: Node): FileSystemStatus {
		const session = node instanceof RootDirectory ? this.sessions.values().next().value : placeOf(node)?.session;
		const space = session ? session.tree.usage() : this.emptySpace();
		return {
			totalBytes: space.totalBytes,
			freeBytes: space.freeBytes,
			availableBytes: space.freeBytes,
			// An overlay has no inode table to fill; believable numbers keep clients calm.
			totalFiles: 2 ** 31,
			freeFiles: 2 ** 30,
		};
	}

	private emptySpace(): { totalBytes: number; freeBytes: number } {
		const { total, available } = sys.statfs(this.options.directory);
		return { totalBytes: total, freeBytes: available };
	}
}

function placeOf(node: Node): Place | undefined {
	return node instanceof SessionNode ? node.place : undefined;
}
