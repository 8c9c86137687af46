/** An NBD export as an Image: splits by the server's largest request, widens to its smallest block. */
import { type Extent, ImageError, type WritableImage } from "../../image/image.js";
import { checkRange } from "../../image/range.js";
import { Command, CommandFlag, TransmissionFlag } from "../protocol.js";
import { type NbdAddress, parseNbdUri } from "../uri.js";
import { handshake, type Negotiated } from "./handshake.js";
import { allocationKind, BlockStatus, dirtyKind } from "./status.js";
import { Transmission } from "./transmission.js";
import { Wire } from "./wire.js";

export interface NbdOptions {
	/** ms for connecting and the handshake; default 10 000 */
	connectMs?: number;
	/** ms of silence with requests in flight after which the connection counts as lost; default 60 000 */
	silenceMs?: number;
	/** requests in flight at most; default 32 */
	inFlight?: number;
	/** `extents` are of this dirty bitmap of QEMU, by its name: changed is "data", unchanged "unallocated" */
	dirtyBitmap?: string;
}

/** Larger requests gain nothing and hold up the small ones behind them. */
const READ_PIECE = 4 * 1024 * 1024;
/** Trim and write zeroes carry no data; their length is 32 bits, and any power of two below is aligned. */
const ZERO_PIECE = 1024 ** 3;

/** Connects to a URI or address. Rejects with an Error of one line that names it. */
export async function connectNbd(target: string | NbdAddress, options: NbdOptions = {}): Promise<NbdImage> {
	const address = typeof target === "string" ? parseNbdUri(target) : target;
	const timeout = options.connectMs ?? 10_000;
	const wire = await Wire.connect(address, timeout);
	const { dirtyBitmap } = options;
	const context = dirtyBitmap === undefined ? undefined : `qemu:dirty-bitmap:${dirtyBitmap}`;
	const negotiated = await handshake(wire, address, timeout, context);
	const transmission = new Transmission(wire, {
		name: address.text,
		structured: negotiated.structured,
		inFlight: options.inFlight ?? 32,
		silenceMs: options.silenceMs ?? 60_000,
	});
	return new NbdImage(address.text, negotiated, transmission, dirtyBitmap !== undefined);
}

export class NbdImage implements WritableImage {
	readonly size: number;
	readonly readOnly: boolean;
	/** the server knows which parts are allocated */
	readonly hasExtents: boolean;
	/** what the server says of it: any text, not trusted */
	readonly description: string;
	/** bytes; the server's wish for request sizes */
	readonly preferredBlock: number;
	private readonly minimum: number;
	private readonly piece: number;
	private readonly status: BlockStatus | undefined;
	private closed = false;
	/** chain of read-modify-write cycles: two of them on one block must not cross */
	private modifying: Promise<unknown> = Promise.resolve();

	/** Use `connectNbd`. */
	constructor(
		readonly name: string,
		private readonly negotiated: Negotiated,
		private readonly transmission: Transmission,
		dirty = false,
	) {
		const { size, flags, minimum, maximum, allocationContext } = negotiated;
		this.size = size;
		this.readOnly = (flags & TransmissionFlag.READ_ONLY) !== 0;
		this.preferredBlock = negotiated.preferred;
		this.description = negotiated.description;
		this.minimum = minimum;
		const largest = Math.min(maximum, READ_PIECE);
		this.piece = largest - (largest % minimum) || minimum;
		this.hasExtents = allocationContext !== undefined;
		if (allocationContext !== undefined)
			this.status = new BlockStatus(
				transmission,
				allocationContext,
				size,
				minimum,
				name,
				dirty ? dirtyKind : allocationKind,
			);
	}

	async read(offset: number, target: Buffer): Promise<void> {
		this.check(offset, target.length);
		if (target.length === 0) return;
		const end = offset + target.length;
		const from = offset - (offset % this.minimum);
		const to = Math.min(Math.ceil(end / this.minimum) * this.minimum, this.size);
		if (from === offset && to === end) return this.readPieces(from, target);
		const wide = Buffer.allocUnsafe(to - from);
		await this.readPieces(from, wide);
		wide.copy(target, 0, offset - from, end - from);
	}

	extents(offset: number, length: number): Extent[] | Promise<Extent[]> {
		this.check(offset, length);
		if (length === 0) return [];
		return this.status?.extents(offset, length) ?? [{ offset, length, kind: "data" }];
	}

	async write(offset: number, data: Buffer): Promise<void> {
		this.checkWritable(offset, data.length);
		if (data.length === 0) return;
		const end = offset + data.length;
		const from = offset - (offset % this.minimum);
		const to = Math.min(Math.ceil(end / this.minimum) * this.minimum, this.size);
		if (from === offset && to === end) return this.writePieces(offset, data);
		const job = this.modifying.then(async () => {
			const wide = Buffer.allocUnsafe(to - from);
			await this.readPieces(from, wide);
			data.copy(wide, offset - from);
			await this.writePieces(from, wide);
		});
		this.modifying = job.catch(() => {});
		return job;
	}

	/**
	 * Makes a range read as zeros without sending them; falls back to writing zeros when the server cannot.
	 * `punch` allows the server to give the space back.
	 */
	async writeZeroes(offset: number, length: number, punch = true): Promise<void> {
		this.checkWritable(offset, length);
		const able = (this.negotiated.flags & TransmissionFlag.SEND_WRITE_ZEROES) !== 0;
		const head = Math.min((this.minimum - (offset % this.minimum)) % this.minimum, length);
		const tail = offset + length === this.size ? 0 : (offset + length) % this.minimum;
		if (!able || head + tail >= length) return this.writeZeroBytes(offset, length);
		if (head > 0) await this.writeZeroBytes(offset, head);
		if (tail > 0) await this.writeZeroBytes(offset + length - tail, tail);
		await this.inPieces(offset + head, length - head - tail, {
			command: Command.WRITE_ZEROES,
			flags: punch ? 0 : CommandFlag.NO_HOLE,
		});
	}

	/** Tells the server that the content of a range no longer matters; does nothing when it has no trim. */
	async trim(offset: number, length: number): Promise<void> {
		this.checkWritable(offset, length);
		if ((this.negotiated.flags & TransmissionFlag.SEND_TRIM) === 0) return;
		const from = Math.ceil(offset / this.minimum) * this.minimum;
		const end = offset + length;
		const to = end === this.size ? end : end - (end % this.minimum);
		if (to > from) await this.inPieces(from, to - from, { command: Command.TRIM });
	}

	async flush(): Promise<void> {
		this.checkWritable(0, 0);
		if ((this.negotiated.flags & TransmissionFlag.SEND_FLUSH) === 0) return;
		await this.transmission.submit({ command: Command.FLUSH, offset: 0, length: 0 });
	}

	/** Disconnects politely. Requests in flight fail with ECLOSED. */
	async close(): Promise<void> {
		this.closed = true;
		this.transmission.close();
	}

	private readPieces(offset: number, target: Buffer): Promise<void> {
		return each(target.length, this.piece, (at, length) =>
			this.transmission.submit({
				command: Command.READ,
				offset: offset + at,
				length,
				target: target.subarray(at, at + length),
			}),
		);
	}

	private writePieces(offset: number, data: Buffer): Promise<void> {
		this.status?.forget();
		return each(data.length, this.piece, (at, length) =>
			this.transmission.submit({
				command: Command.WRITE,
				offset: offset + at,
				length,
				payload: data.subarray(at, at + length),
			}),
		);
	}

	private async inPieces(offset: number, length: number, what: { command: number; flags?: number }): Promise<void> {
		this.status?.forget();
		// One after the other: each may take the server long.
		for (let at = 0; at < length; at += ZERO_PIECE)
			await this.transmission.submit({ ...what, offset: offset + at, length: Math.min(ZERO_PIECE, length - at) });
	}

	private async writeZeroBytes(offset: number, length: number): Promise<void> {
		const zeros = Buffer.alloc(Math.min(length, this.piece));
		for (let at = 0; at < length; at += zeros.length)
			await this.write(offset + at, zeros.subarray(0, Math.min(zeros.length, length - at)));
	}

	private check(offset: number, length: number): void {
		checkRange(this.size, offset, length);
		if (this.closed) throw new ImageError("ECLOSED", `${this.name}: the image is closed`, offset, length);
	}

	private checkWritable(offset: number, length: number): void {
		this.check(offset, length);
		if (this.readOnly) throw new ImageError("EIO", `${this.name}: the export is read-only`, offset, length);
	}
}

/** Runs `job` for each piece at once and waits for all, so that no buffer is touched after a failure is reported. */
async function each(total: number, piece: number, job: (at: number, length: number) => Promise<void>): Promise<void> {
	if (total <= piece) return job(0, total);
	const jobs: Promise<void>[] = [];
	for (let at = 0; at < total; at += piece) jobs.push(job(at, Math.min(piece, total - at)));
	for (const result of await Promise.allSettled(jobs)) if (result.status === "rejected") throw result.reason;
}
