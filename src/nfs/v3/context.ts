/** What the NFS procedures share on one connection: handles to nodes, admission, callers, replays. */

import { isFailed } from "../../vfs/failed.js";
import type { Caller, DirectoryNode, Failed, FileSystem, Node, Replayed, Volume } from "../../vfs/vfs.js";
import { Admission, type Level } from "../access/admission.js";
import type { Call } from "../rpc/program.js";
import type { XdrReader } from "../xdr/reader.js";

/** nfs_fh3 is at most this long (RFC 1813 section 2.4); ours stay under 56 for ESXi. */
const HANDLE_MAX = 64;

export class NfsContext {
	readonly fileSystem: FileSystem;
	readonly #call: Call;
	readonly #admission: Admission;
	/** The handle resolved last, good for the batch at hand only: nodes are not kept across requests. */
	readonly #handle = Buffer.alloc(HANDLE_MAX);
	#handleLength = 0;
	#batch = -1;
	#node!: Node;
	#level: Level = "none";
	#volume: Volume | undefined;

	constructor(call: Call, fileSystem: FileSystem) {
		this.#call = call;
		this.fileSystem = fileSystem;
		this.#admission = new Admission(call.peer, fileSystem);
	}

	/** The reply may come later and then takes about so many bytes. */
	expect(bytes: number): void {
		this.#call.expect(bytes);
	}

	caller(): Caller {
		return this.#call.caller();
	}

	/** The node that the next argument, a handle, names; ACCES when no export admits the peer to it. */
	node(args: XdrReader): Node | Failed {
		const length = args.length(HANDLE_MAX);
		const at = args.skip((length + 3) & ~3);
		if (this.#batch === this.#call.batch && length === this.#handleLength && this.#same(args.buffer, at, length)) {
			this.#call.attribute(this.#volume);
			return this.#level === "none" ? { status: "ACCES" } : this.#node;
		}
		const handle = args.buffer.subarray(at, at + length);
		const node = this.fileSystem.resolve(handle);
		this.forget();
		if (isFailed(node)) return node;
		this.#level = this.#admission.level(node);
		this.#node = node;
		this.#handle.set(handle);
		this.#handleLength = length;
		this.#batch = this.#call.batch;
		this.#volume = this.fileSystem.volume?.(node);
		this.#call.attribute(this.#volume);
		if (this.#level === "none") return { status: "ACCES" };
		this.fileSystem.using?.(node, this.#call.peer);
		return node;
	}

	/** As `node`, for an operation that changes it: ROFS when only read-only exports admit the peer. */
	changing(args: XdrReader): Node | Failed {
		const node = this.node(args);
		if (!isFailed(node) && this.#level === "read") return { status: "ROFS" };
		return node;
	}

	/** A directory about to change, by the handle that comes next; and what was resolved may be gone afterwards. */
	changingDirectory(args: XdrReader): DirectoryNode | Failed {
		const node = this.changing(args);
		this.forget();
		return isDirectory(node) || isFailed(node) ? node : { status: "NOTDIR" };
	}

	/** True when the node resolved last may be written by the peer. */
	get mayWrite(): boolean {
		return this.#level === "write";
	}

	/** Whether this very request was carried out before a restart. */
	replayed(at: Node, caller: Caller): Replayed | undefined {
		if (caller.request === undefined) return undefined;
		return this.fileSystem.replayed?.(at, caller.request);
	}

	forget(): void {
		this.#batch = -1;
	}

	#same(buffer: Buffer, at: number, length: number): boolean {
		const handle = this.#handle;
		for (let index = 0; index < length; index++) if (buffer[at + index] !== handle[index]) return false;
		return true;
	}
}

export const isDirectory = (node: Node | Failed): node is DirectoryNode => (node as Node).kind === "directory";
