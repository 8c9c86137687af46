/** A request of the transmission phase, and the rules that it must keep ("Request message"). */
import { Command, CommandFlag, Errno } from "../protocol.js";
import type { NbdExport } from "./export.js";
import { MAX_REQUEST } from "./limits.js";
import type { Cookie } from "./replies.js";

export const REQUEST_HEADER = 28;

export interface Request extends Cookie {
	readonly command: number;
	readonly flags: number;
	readonly offset: number;
	readonly length: number;
}

const DWORD = 2 ** 32;

/** The request at `at`, its magic number apart. */
export function readRequest(view: DataView, at: number): Request {
	return {
		flags: view.getUint16(at + 4),
		command: view.getUint16(at + 6),
		high: view.getUint32(at + 8),
		low: view.getUint32(at + 12),
		// Beyond 2^53 it is no longer exact, and certainly beyond every export.
		offset: view.getUint32(at + 16) * DWORD + view.getUint32(at + 20),
		length: view.getUint32(at + 24),
	};
}

const { FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO } = CommandFlag;
const FLAGS: Record<number, number> = {
	[Command.READ]: FUA | DF,
	[Command.WRITE]: FUA,
	[Command.FLUSH]: FUA,
	[Command.TRIM]: FUA,
	[Command.CACHE]: FUA,
	[Command.WRITE_ZEROES]: FUA | NO_HOLE | FAST_ZERO,
	[Command.BLOCK_STATUS]: FUA | REQ_ONE,
};
const WRITES = new Set<number>([Command.WRITE, Command.TRIM, Command.WRITE_ZEROES]);

/** What the connection agreed on. */
export interface Agreed {
	exported: NbdExport;
	structured: boolean;
	contexts: readonly unknown[];
}

/** Why a request is refused: an error number; 0 when it may be carried out. */
export function refusalOf({ command, flags, offset, length }: Request, agreed: Agreed): number {
	const { exported, structured, contexts } = agreed;
	const { size } = exported.image;
	const allowed = FLAGS[command];
	if (allowed === undefined || (flags & ~allowed) !== 0) return Errno.EINVAL;
	if (command === Command.FLUSH) return offset === 0 && length === 0 ? 0 : Errno.EINVAL;
	const writes = WRITES.has(command);
	if (writes && exported.readOnly) return Errno.EPERM;
	if (length === 0) return Errno.EINVAL;
	if (offset + length > size) return writes && command !== Command.TRIM ? Errno.ENOSPC : Errno.EINVAL;
	if (command === Command.READ && length > MAX_REQUEST) return Errno.EOVERFLOW;
	if ((flags & DF) !== 0 && !structured) return Errno.EINVAL;
	if (command === Command.BLOCK_STATUS && contexts.length === 0) return Errno.EINVAL;
	if ((flags & FAST_ZERO) !== 0 && !(!exported.readOnly && exported.image.zero)) return Errno.ENOTSUP;
	return 0;
}
