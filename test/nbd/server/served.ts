/** Our NBD server over a disk in memory, for tests: what it was asked is seen, and it fails or waits when told to. */
import { mkdtempSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { type Extent, ImageError, type Loan, type WritableImage } from "../../../src/image/image.js";
import { checkRange, pushExtent } from "../../../src/image/range.js";
import { type ExportContexts, type ListenTls, type NbdExport, NbdServer } from "../../../src/nbd/index.js";
import type { Limits } from "../../../src/nbd/server/limits.js";

const BLOCK = 4096;

/** A writable disk. A block that was never written is unallocated, one that was zeroed is zero. */
export class MemoryDisk implements WritableImage {
	readonly content: Buffer;
	readonly #kinds: Extent["kind"][];
	/** bytes that a flush has covered */
	stable: Buffer;
	calls = { write: 0, writeStable: 0, flush: 0, zero: 0, read: 0, borrow: 0 };
	/** "sync": at once; "async": in a later turn; "lend": slices of it, with `lent` counted */
	mode: "sync" | "async" | "lend" = "sync";
	/** loans not returned */
	lent = 0;
	/** every operation waits for it */
	gate: Promise<void> | undefined;
	failure: ImageError | undefined;

	constructor(readonly size: number) {
		this.content = Buffer.alloc(size);
		this.stable = Buffer.alloc(size);
		this.#kinds = new Array(Math.ceil(size / BLOCK)).fill("unallocated");
	}

	/** Content for a test's begin. */
	fill(offset: number, data: Buffer): void {
		data.copy(this.content, offset);
		this.#mark(offset, data.length, "data");
	}

	read(offset: number, target: Buffer): void | Promise<void> {
		checkRange(this.size, offset, target.length);
		this.calls.read++;
		const copy = () => {
			if (this.failure) throw this.failure;
			this.content.copy(target, 0, offset, offset + target.length);
		};
		if (this.mode !== "async" && !this.gate) return copy();
		return this.#wait().then(copy);
	}

	borrow(offset: number, length: number): Loan[] | undefined {
		if (this.mode !== "lend" || this.failure) return undefined;
		this.calls.borrow++;
		const loans: Loan[] = [];
		for (let at = 0; at < length; at += BLOCK) {
			const data = this.content.subarray(offset + at, offset + Math.min(at + BLOCK, length));
			this.lent++;
			loans.push({ data, release: () => void this.lent-- });
		}
		return loans;
	}

	extents(offset: number, length: number): Extent[] | Promise<Extent[]> {
		checkRange(this.size, offset, length);
		const list: Extent[] = [];
		for (let at = offset; at < offset + length; ) {
			const to = Math.min((Math.floor(at / BLOCK) + 1) * BLOCK, offset + length);
			pushExtent(list, at, to - at, this.#kinds[Math.floor(at / BLOCK)]);
			at = to;
		}
		return this.mode === "async" ? this.#wait().then(() => list) : list;
	}

	async write(offset: number, data: Buffer): Promise<void> {
		this.calls.write++;
		await this.#wait();
		if (this.failure) throw this.failure;
		this.fill(offset, data);
	}

	async writeStable(offset: number, data: Buffer): Promise<void> {
		this.calls.writeStable++;
		await this.#wait();
		if (this.failure) throw this.failure;
		this.fill(offset, data);
		data.copy(this.stable, offset);
	}

	async zero(offset: number, length: number): Promise<void> {
		this.calls.zero++;
		await this.#wait();
		if (this.failure) throw this.failure;
		this.content.fill(0, offset, offset + length);
		this.#mark(offset, length, "zero");
	}

	async flush(): Promise<void> {
		this.calls.flush++;
		await this.#wait();
		if (this.failure) throw this.failure;
		this.stable = Buffer.from(this.content);
	}

	async close(): Promise<void> {}

	/** From now on everything fails. */
	fail(code: ImageError["code"]): void {
		this.failure = new ImageError(code, "told to fail", 0, 0);
	}

	async #wait(): Promise<void> {
		await (this.gate ?? new Promise<void>((resolve) => setImmediate(resolve)));
	}

	#mark(offset: number, length: number, kind: Extent["kind"]): void {
		// A block that is partly zeroed keeps its data.
		const whole = kind === "data" ? Math.floor : Math.ceil;
		const last = Math.floor((offset + length + (kind === "data" ? BLOCK - 1 : 0)) / BLOCK);
		for (let block = whole(offset / BLOCK); block < last; block++) this.#kinds[block] = kind;
	}
}

export interface Peer {
	address: string;
	/** may use exports */
	known: boolean;
}

export interface Served {
	server: NbdServer<Peer>;
	disk: MemoryDisk;
	/** Unix socket */
	socket: string;
	directory: string;
	/** of the export "disk" */
	uri: string;
	logs: string[];
	/** exports that are open */
	open(): number;
	exports: Map<string, () => NbdExport>;
}

export interface ServedOptions {
	size?: number;
	limits?: Partial<Limits>;
	contexts?: ExportContexts;
	identify?: (socket: Socket) => Peer;
}

/** Exports "disk", writable, and "fixed", the same read-only. */
export async function served(t: Test, options: ServedOptions = {}): Promise<Served> {
	const directory = mkdtempSync(join(tmpdir(), "springback-test-nbd-"));
	const disk = new MemoryDisk(options.size ?? 1024 * 1024);
	let open = 0;
	const { contexts } = options;
	const common = { multiConnection: true, contexts, release: () => void open-- };
	const exports = new Map<string, () => NbdExport>([
		["disk", () => ({ ...common, image: disk, readOnly: false, description: "a disk in memory" })],
		["fixed", () => ({ ...common, image: disk, readOnly: true })],
	]);
	const logs: string[] = [];
	const server = new NbdServer<Peer>({
		exports: {
			knows: ({ known }) => known,
			names: ({ known }) => (known ? [...exports.keys()] : []),
			open: ({ known }, name) => {
				const make = known ? exports.get(name) : undefined;
				if (make) open++;
				return make?.();
			},
		},
		identify: options.identify ?? (() => ({ address: "here", known: true })),
		log: (line) => logs.push(line),
		limits: options.limits,
	});
	const socket = join(directory, "s");
	await server.listenUnix(socket);
	t.teardown(async () => {
		await server.close();
		rmSync(directory, { recursive: true, force: true });
	});
	const uri = `nbd+unix:///disk?socket=${socket}`;
	return { server, disk, socket, directory, uri, logs, open: () => open, exports };
}

export type { ListenTls };
