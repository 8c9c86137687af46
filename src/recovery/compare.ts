/** Compares what the old and the new place of a disk hold, piece by piece; what both know as zeros is not read. */
import { createHash } from "node:crypto";
import { isZero } from "../../native/index.js";
import type { Extent, Image } from "../image/index.js";
import { checkInterrupted } from "./errors.js";

const PIECE = 1024 * 1024;
/** Extents are asked for by this much: a fragmented disk must not become one huge list. */
const WINDOW = 1024 * PIECE;
const AT_ONCE = 4;

export interface Comparison {
	/** bytes */
	compared: number;
	/** bytes in pieces of at most 1 MiB that differ */
	different: number;
	/** of the first that differs; null: none does */
	firstDifference: number | null;
	/** SHA-256 of all pieces of the new place that are not zero, each behind its offset */
	sha256: string;
}

/** The old place may be longer, by zeros: it is published in whole sectors. */
export const compareImages = async (
	before: Image,
	after: Image,
	options: { progress?: (done: number) => void; signal: AbortSignal },
): Promise<Comparison> => {
	const size = Math.min(before.size, after.size);
	const hash = createHash("sha256");
	const result: Comparison = { compared: size, different: 0, firstDifference: null, sha256: "" };
	const differ = (offset: number, length: number): void => {
		result.different += length;
		result.firstDifference ??= offset;
	};
	for (let at = 0; at < size; at += WINDOW) {
		const end = Math.min(size, at + WINDOW);
		const pieces = await piecesOf(before, after, at, end);
		for (let n = 0; n < pieces.length; n += AT_ONCE) {
			checkInterrupted(options.signal, "comparing");
			const read = await Promise.all(
				pieces.slice(n, n + AT_ONCE).map(async ({ offset, length }) => ({
					...{ offset, length },
					old: await readPiece(before, offset, length),
					now: await readPiece(after, offset, length),
				})),
			);
			for (const { offset, length, old, now } of read) {
				if (!old.equals(now)) differ(offset, length);
				if (!isZero(now)) hash.update(String(offset)).update(now);
				options.progress?.(offset + length);
			}
		}
	}
	for (const [longer, from] of [before, after].map((image) => [image, size] as const))
		for (let at = from; at < longer.size; at += PIECE) {
			const length = Math.min(PIECE, longer.size - at);
			if (!isZero(await readPiece(longer, at, length))) differ(at, length);
		}
	return { ...result, sha256: hash.digest("hex") };
};

const readPiece = async (image: Image, offset: number, length: number): Promise<Buffer> => {
	const content = Buffer.allocUnsafe(length);
	await image.read(offset, content);
	return content;
};

/** Where at least one of the two may hold something, in whole pieces. */
const piecesOf = async (before: Image, after: Image, from: number, to: number) => {
	const wanted = new Set<number>();
	const add = ({ offset, length, kind }: Extent): void => {
		if (kind !== "data") return;
		for (let n = Math.floor(offset / PIECE); n * PIECE < offset + length; n++) wanted.add(n);
	};
	for (const image of [before, after]) for (const extent of await image.extents(from, to - from)) add(extent);
	return [...wanted].sort((a, b) => a - b).map((n) => ({ offset: n * PIECE, length: Math.min(PIECE, to - n * PIECE) }));
};
