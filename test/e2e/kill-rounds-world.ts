/**
 * What a client knows of a session: every name and byte that was acknowledged, and every change in flight. `verify`
 * compares the server with it: what is in flight may have happened or not, nothing else may differ.
 */
import { type Entry, fattr, type NfsClient, P } from "../nfs/nfs-client.js";
import { xdr } from "../nfs/raw-client.js";

export const SECTOR = 512;
const STALE = 70;
const NAMES = 9;
const READ_MAX = 256 * 1024;

export interface Node {
	kind: "file" | "dir" | "symlink";
	/** unknown until the answer to what made it */
	handle?: Buffer;
	fileid?: bigint;
	/** names of a file */
	links: number;
	/** content as acknowledged */
	data: Buffer;
	/** in flight, each on sectors of its own */
	changes: Set<ContentChange>;
	/** an operation that allows no other on this node is in flight */
	locked: boolean;
}

export interface ContentChange {
	at: number;
	bytes: Buffer;
	/** of the whole content, afterwards */
	size: number;
}

/** What names stand for after an operation in flight: all of them or none change. */
export type NameChange = Map<Slot, Node | undefined>;

/** A name that may exist. */
export interface Slot {
	directory: Buffer;
	name: string;
	node?: Node;
	pending?: NameChange;
}

export const newNode = (kind: Node["kind"]): Node => ({
	kind,
	links: 1,
	data: Buffer.alloc(0),
	changes: new Set(),
	locked: false,
});

export class World {
	readonly slots: Slot[] = [];
	readonly disk: Node;
	/** handles of what was removed */
	readonly removed: Buffer[] = [];
	/** write verifier → number of the connection that saw it */
	readonly #verifiers = new Map<string, number>();

	constructor(
		readonly directories: Buffer[],
		disk: { handle: Buffer; fileid: bigint; data: Buffer },
	) {
		this.disk = { ...newNode("file"), ...disk };
		for (const directory of directories)
			for (let i = 0; i < NAMES; i++) this.slots.push({ directory, name: `name-${i}` });
	}

	/** A write verifier that was seen on a connection: another process has another one. */
	sawVerifier(verifier: Buffer, connection: number): void {
		const key = verifier.toString("hex");
		const known = this.#verifiers.get(key) ?? connection;
		if (known !== connection) throw new Error("the write verifier is the same after a restart");
		this.#verifiers.set(key, connection);
	}

	async verify(client: NfsClient): Promise<void> {
		const found = new Map<Slot, Entry>();
		for (const directory of this.directories)
			for (const entry of await list(client, directory)) {
				const slot = this.slots.find((slot) => slot.directory === directory && slot.name === entry.name);
				if (!slot) throw new Error(`there is a name that nobody made: ${entry.name}`);
				found.set(slot, entry);
			}
		this.#verifyNames(found);
		for (const node of new Set(this.slots.map((slot) => slot.node))) if (node) await this.#verifyNode(client, node);
		await this.#verifyNode(client, this.disk);
		for (const handle of this.removed.splice(0)) {
			const { status } = await client.call(P.GETATTR, xdr().opaque(handle).done());
			if (status !== STALE) throw new Error(`the handle of what was removed answers ${status}`);
		}
	}

	#verifyNames(found: Map<Slot, Entry>): void {
		const known = new Set(this.slots.map((slot) => slot.node?.fileid));
		const holds = (slot: Slot, node: Node | undefined): boolean => {
			const fileid = found.get(slot)?.fileid;
			if (!node || fileid === undefined) return !node && fileid === undefined;
			return node.fileid === undefined ? !known.has(fileid) : node.fileid === fileid;
		};
		for (const slot of this.slots)
			if (!slot.pending && !holds(slot, slot.node))
				throw new Error(`${slot.name}: ${found.get(slot)?.fileid}, acknowledged was ${slot.node?.fileid}`);
		for (const pending of new Set(this.slots.map((slot) => slot.pending))) {
			if (!pending) continue;
			const slots = [...pending.keys()];
			if (slots.every((slot) => holds(slot, slot.node))) continue;
			if (!slots.every((slot) => holds(slot, pending.get(slot))))
				throw new Error(`${slots.map(({ name }) => name)}: neither the old nor the new state`);
			// It has happened: the answer that is still to come must be about this object.
			for (const [slot, node] of pending) if (node) node.fileid ??= found.get(slot)?.fileid;
		}
	}

	async #verifyNode(client: NfsClient, node: Node): Promise<void> {
		if (!node.handle) return;
		const changing = this.slots.some((slot) => slot.pending && (slot.node === node || slot.pending.get(slot) === node));
		const { status, body } = await client.call(P.GETATTR, xdr().opaque(node.handle).done());
		// Its last name may be gone already.
		if (status === STALE && changing) return;
		if (status !== 0) throw new Error(`GETATTR of ${node.kind} ${node.fileid} answers ${status}`);
		const { fileid, nlink, size } = fattr(body);
		if (fileid !== node.fileid) throw new Error(`fileid ${fileid}, was ${node.fileid}`);
		if (node.kind !== "file") return;
		if (!changing && nlink !== node.links)
			throw new Error(`file ${fileid} has ${nlink} names, made were ${node.links}`);
		compare(node, await content(client, node.handle, Number(size)));
	}
}

/** Content after a change. */
export function applied(data: Buffer, change: ContentChange): Buffer {
	// A disk keeps its size: changed in place.
	const result = data.length === change.size ? data : Buffer.alloc(change.size);
	if (result !== data) data.copy(result);
	change.bytes.copy(result, change.at);
	return result;
}

/** Throws unless every sector is as acknowledged, or as one change in flight makes it, and the size likewise. */
function compare(node: Node, got: Buffer): void {
	if (got.length !== node.data.length && ![...node.changes].some(({ size }) => size === got.length))
		throw new Error(`file ${node.fileid} has ${got.length} bytes, acknowledged were ${node.data.length}`);
	if (got.equals(node.data)) return;
	const news = [...node.changes].map((change) => ({ change, data: applied(Buffer.from(node.data), change) }));
	for (let at = 0; at < got.length; at += SECTOR) {
		const sector = got.subarray(at, at + SECTOR);
		const same = (data: Buffer): boolean => {
			const part = data.subarray(at, at + sector.length);
			return sector.subarray(0, part.length).equals(part) && sector.subarray(part.length).every((byte) => byte === 0);
		};
		if (!same(node.data) && !news.some(({ data }) => same(data)))
			throw new Error(`file ${node.fileid}: bytes ${at} to ${at + sector.length} are neither old nor new`);
	}
}

async function content(client: NfsClient, handle: Buffer, size: number): Promise<Buffer> {
	const parts: Buffer[] = [];
	for (let at = 0; at < size; ) {
		const { status, data } = await client.read(handle, at, Math.min(READ_MAX, size - at));
		if (status !== 0 || data.length === 0) throw new Error(`READ at ${at} of ${size}: ${status}, ${data.length} bytes`);
		parts.push(data);
		at += data.length;
	}
	return Buffer.concat(parts);
}

async function list(client: NfsClient, directory: Buffer): Promise<Entry[]> {
	const all: Entry[] = [];
	let verifier = Buffer.alloc(8);
	for (;;) {
		const cookie = all.at(-1)?.cookie ?? 0n;
		const reply = await client.readdirplus(directory, cookie, 4096, 16384, verifier);
		if (reply.status !== 0) throw new Error(`READDIRPLUS answers ${reply.status}`);
		all.push(...reply.entries);
		if (reply.eof) return all.filter(({ name }) => name !== "." && name !== "..");
		verifier = reply.verifier;
	}
}
