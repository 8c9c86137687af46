/** NFSv3 and MOUNT calls and the parts of their results, on top of the raw client. */
import { type CallOptions, type Fields, RawClient, type Reply, xdr } from "./raw-client.js";

export const NFS = 100003;
export const MOUNT = 100005;
export const PORTMAP = 100000;

/** procedure numbers, RFC 1813 section 3.3 */
export const P = {
	NULL: 0,
	GETATTR: 1,
	SETATTR: 2,
	LOOKUP: 3,
	ACCESS: 4,
	READLINK: 5,
	READ: 6,
	WRITE: 7,
	CREATE: 8,
	MKDIR: 9,
	SYMLINK: 10,
	MKNOD: 11,
	REMOVE: 12,
	RMDIR: 13,
	RENAME: 14,
	LINK: 15,
	READDIR: 16,
	READDIRPLUS: 17,
	FSSTAT: 18,
	FSINFO: 19,
	PATHCONF: 20,
	COMMIT: 21,
};

export interface Fattr {
	type: number;
	mode: number;
	nlink: number;
	uid: number;
	gid: number;
	size: bigint;
	used: bigint;
	major: number;
	minor: number;
	fsid: bigint;
	fileid: bigint;
	atime: bigint;
	mtime: bigint;
	ctime: bigint;
}

export const nfstime = (fields: Fields): bigint => BigInt(fields.u32()) * 1_000_000_000n + BigInt(fields.u32());

export function fattr(fields: Fields): Fattr {
	return {
		type: fields.u32(),
		mode: fields.u32(),
		nlink: fields.u32(),
		uid: fields.u32(),
		gid: fields.u32(),
		size: fields.u64(),
		used: fields.u64(),
		major: fields.u32(),
		minor: fields.u32(),
		fsid: fields.u64(),
		fileid: fields.u64(),
		atime: nfstime(fields),
		mtime: nfstime(fields),
		ctime: nfstime(fields),
	};
}

export const postOp = (fields: Fields): Fattr | undefined => (fields.u32() ? fattr(fields) : undefined);

export interface Wcc {
	before?: { size: bigint; mtime: bigint; ctime: bigint };
	after?: Fattr;
}

export function wcc(fields: Fields): Wcc {
	const before = fields.u32() ? { size: fields.u64(), mtime: nfstime(fields), ctime: nfstime(fields) } : undefined;
	return { before, after: postOp(fields) };
}

/** sattr3 with only mode and size settable here */
export function sattr(
	set: { mode?: number; uid?: number; size?: bigint | number; mtime?: bigint | "now" } = {},
): Buffer {
	const words = xdr();
	if (set.mode === undefined) words.u32(0);
	else words.u32(1, set.mode);
	if (set.uid === undefined) words.u32(0);
	else words.u32(1, set.uid);
	words.u32(0);
	if (set.size === undefined) words.u32(0);
	else words.u32(1).u64(set.size);
	words.u32(0);
	if (set.mtime === undefined) words.u32(0);
	else if (set.mtime === "now") words.u32(1);
	else words.u32(2, Number(set.mtime / 1_000_000_000n), Number(set.mtime % 1_000_000_000n));
	return words.done();
}

export interface Entry {
	name: string;
	fileid: bigint;
	cookie: bigint;
	attributes?: Fattr;
	handle?: Buffer;
}

export class NfsClient {
	constructor(
		readonly raw: RawClient,
		readonly options: CallOptions = {},
	) {}

	static async connect(port: number, options: CallOptions = {}, host?: string): Promise<NfsClient> {
		return new NfsClient(await RawClient.connect(port, host), options);
	}

	async reply(procedure: number, args: Buffer, options: CallOptions = {}): Promise<Reply> {
		return this.raw.call(NFS, 3, procedure, args, { ...this.options, ...options });
	}

	/** Expects an accepted call; status first, then the rest of the result. */
	async call(procedure: number, args: Buffer, options: CallOptions = {}): Promise<{ status: number; body: Fields }> {
		const reply = await this.reply(procedure, args, options);
		if (reply.replyStat !== 0 || reply.stat !== 0) throw new Error(`call ${reply.replyStat}/${reply.stat}`);
		return { status: reply.body.u32(), body: reply.body };
	}

	async mount(path: string): Promise<{ status: number; handle: Buffer }> {
		const reply = await this.raw.call(MOUNT, 3, 1, xdr().opaque(path).done(), this.options);
		const status = reply.body.u32();
		return { status, handle: status === 0 ? reply.body.opaque() : Buffer.alloc(0) };
	}

	async root(path = "/springback/one"): Promise<Buffer> {
		const { status, handle } = await this.mount(path);
		if (status !== 0) throw new Error(`mount ${path}: ${status}`);
		return handle;
	}

	async lookup(directory: Buffer, name: string) {
		const { status, body } = await this.call(P.LOOKUP, xdr().opaque(directory).opaque(name).done());
		if (status !== 0) return { status, handle: Buffer.alloc(0), directory: postOp(body) };
		const handle = body.opaque();
		return { status, handle, attributes: postOp(body), directory: postOp(body) };
	}

	async getattr(handle: Buffer): Promise<Fattr> {
		const { status, body } = await this.call(P.GETATTR, xdr().opaque(handle).done());
		if (status !== 0) throw new Error(`getattr ${status}`);
		return fattr(body);
	}

	async read(handle: Buffer, offset: bigint | number, count: number) {
		const { status, body } = await this.call(P.READ, xdr().opaque(handle).u64(offset).u32(count).done());
		const attributes = postOp(body);
		if (status !== 0) return { status, attributes, count: 0, eof: false, data: Buffer.alloc(0) };
		const got = body.u32();
		const eof = body.u32() === 1;
		return { status, attributes, count: got, eof, data: Buffer.from(body.opaque()) };
	}

	async write(handle: Buffer, offset: bigint | number, data: Buffer, stable = 2) {
		const args = xdr().opaque(handle).u64(offset).u32(data.length, stable).opaque(data).done();
		const { status, body } = await this.call(P.WRITE, args);
		const change = wcc(body);
		if (status !== 0) return { status, change, count: 0, committed: -1, verifier: Buffer.alloc(0) };
		return { status, change, count: body.u32(), committed: body.u32(), verifier: body.raw(8) };
	}

	/** CREATE, MKDIR, SYMLINK, MKNOD */
	async make(procedure: number, args: Buffer, options: CallOptions = {}) {
		const { status, body } = await this.call(procedure, args, options);
		if (status !== 0) return { status, change: wcc(body), left: body.left };
		const handle = body.u32() ? Buffer.from(body.opaque()) : undefined;
		return { status, handle, attributes: postOp(body), change: wcc(body), left: body.left };
	}

	create(directory: Buffer, name: string, mode: "unchecked" | "guarded", set = sattr(), options: CallOptions = {}) {
		const args = xdr().opaque(directory).opaque(name);
		args.u32(mode === "unchecked" ? 0 : 1).raw(set);
		return this.make(P.CREATE, args.done(), options);
	}

	createExclusive(directory: Buffer, name: string, verifier: Buffer, options: CallOptions = {}) {
		return this.make(P.CREATE, xdr().opaque(directory).opaque(name).u32(2).raw(verifier).done(), options);
	}

	async readdir(directory: Buffer, cookie: bigint, count: number, verifier = Buffer.alloc(8)) {
		const args = xdr().opaque(directory).u64(cookie).raw(verifier).u32(count).done();
		const { status, body } = await this.call(P.READDIR, args);
		return this.#listing(status, body, false);
	}

	async readdirplus(directory: Buffer, cookie: bigint, dircount: number, maxcount: number, verifier = Buffer.alloc(8)) {
		const args = xdr().opaque(directory).u64(cookie).raw(verifier).u32(dircount, maxcount).done();
		const { status, body } = await this.call(P.READDIRPLUS, args);
		return this.#listing(status, body, true);
	}

	#listing(status: number, body: Fields, plus: boolean) {
		const start = body.at - 4;
		const attributes = postOp(body);
		const entries: Entry[] = [];
		if (status !== 0) return { status, attributes, entries, eof: false, verifier: Buffer.alloc(0), bytes: 0 };
		const verifier = Buffer.from(body.raw(8));
		while (body.u32()) {
			const entry: Entry = { fileid: body.u64(), name: body.text(), cookie: body.u64() };
			if (plus) {
				entry.attributes = postOp(body);
				if (body.u32()) entry.handle = Buffer.from(body.opaque());
			}
			entries.push(entry);
		}
		const eof = body.u32() === 1;
		return { status, attributes, entries, eof, verifier, bytes: body.at - start, left: body.left };
	}

	close(): void {
		this.raw.close();
	}
}
