/** Copies an Image's data to a target, several pieces at once, so that fetching, decoding and writing overlap. */
import type { Image } from "../image/index.js";
import { checkInterrupted } from "./errors.js";

export interface CopyTarget {
	write(offset: number, data: Buffer): Promise<void>;
	/** Makes a range read as zeros. */
	zero(offset: number, length: number): Promise<void>;
}

export interface CopyOptions {
	/** bytes up to which everything is done */
	progress?: (done: number) => void;
	signal?: AbortSignal;
	/** default 1 MiB */
	pieceBytes?: number;
	/** pieces on their way at once; default 8 */
	inFlight?: number;
}

interface Piece {
	offset: number;
	length: number;
	data: boolean;
}

/** Extents asked for at once: a fragmented disk must not become one huge list. */
const WINDOW = 8 * 1024 ** 3;

/** Resolves with the bytes written. On failure nothing is in flight any more when it rejects. */
export async function copyImage(source: Image, target: CopyTarget, options: CopyOptions = {}): Promise<number> {
	const plan = pieces(source, options.pieceBytes ?? 1024 * 1024);
	let failed = false;
	let written = 0;
	let done = 0;
	const copyOne = async (piece: Piece, buffer: Buffer): Promise<void> => {
		if (piece.data) {
			const data = buffer.subarray(0, piece.length);
			await source.read(piece.offset, data);
			await target.write(piece.offset, data);
			written += piece.length;
		} else await target.zero(piece.offset, piece.length);
		done += piece.length;
		options.progress?.(done);
	};
	const worker = async (): Promise<void> => {
		const buffer = Buffer.allocUnsafeSlow(options.pieceBytes ?? 1024 * 1024);
		try {
			for (;;) {
				checkInterrupted(options.signal, "export");
				const { value, done: end } = await plan.next();
				if (end || failed) return;
				await copyOne(value, buffer);
			}
		} catch (error) {
			failed = true;
			throw error;
		}
	};
	const results = await Promise.allSettled(Array.from({ length: options.inFlight ?? 8 }, worker));
	for (const result of results) if (result.status === "rejected") throw result.reason;
	return written;
}

async function* pieces(source: Image, pieceBytes: number): AsyncGenerator<Piece, undefined> {
	for (let at = 0; at < source.size; at += WINDOW) {
		for (const { offset, length, kind } of await source.extents(at, Math.min(WINDOW, source.size - at))) {
			if (kind !== "data") yield { offset, length, data: false };
			else
				for (let from = 0; from < length; from += pieceBytes)
					yield { offset: offset + from, length: Math.min(pieceBytes, length - from), data: true };
		}
	}
	return undefined;
}
