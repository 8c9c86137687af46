/** What requests do to an Image, reads and the way of the data apart. */
import type { WritableImage } from "../../image/image.js";
import { Command, CommandFlag } from "../protocol.js";
import type { NbdExport } from "./export.js";
import type { Request } from "./request.js";

const PIECE = 1024 * 1024;
/** NBD_CMD_CACHE is a wish: no more than this of it is granted. */
const CACHE_MOST = 64 * 1024 * 1024;

let zeros: Buffer | undefined;

/** Resolves when everybody else has had a turn of the event loop. */
export const othersTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Writes one part of a request's data: resolves when it is as safe as the request wants. */
export function writePart(image: WritableImage, offset: number, data: Buffer, stable: boolean): Promise<void> {
	if (!stable) return image.write(offset, data);
	if (image.writeStable) return image.writeStable(offset, data);
	return image.write(offset, data).then(() => image.flush());
}

/** Everything that carries no data and is answered without any. */
export async function carryOut(exported: NbdExport, request: Request, scratch: () => Buffer): Promise<void> {
	const { command, offset, length, flags } = request;
	const { image } = exported;
	if (command === Command.CACHE) {
		const buffer = scratch();
		const end = offset + Math.min(length, CACHE_MOST);
		for (let at = offset; at < end; at += buffer.length) {
			await image.read(at, buffer.subarray(0, Math.min(buffer.length, end - at)));
			await othersTurn();
		}
		return;
	}
	// What is read-only has nothing to flush; other writes were refused before.
	if (exported.readOnly) return;
	const { image: writable } = exported;
	if (command === Command.FLUSH) return writable.flush();
	if (command === Command.WRITE_ZEROES) await zero(writable, offset, length);
	// TRIM promises nothing about the content, so that where zeros would have to be written it is left as it is.
	else if (command === Command.TRIM && writable.zero) await writable.zero(offset, length);
	if ((flags & CommandFlag.FUA) !== 0) await writable.flush();
}

async function zero(image: WritableImage, offset: number, length: number): Promise<void> {
	if (image.zero) return image.zero(offset, length);
	zeros ??= Buffer.alloc(PIECE);
	for (let at = 0; at < length; at += PIECE)
		await image.write(offset + at, zeros.subarray(0, Math.min(PIECE, length - at)));
}
