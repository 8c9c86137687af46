/** A server's refusal of a request, in words. */
import { ImageError } from "../../image/image.js";
import { Command, ErrorNames } from "../protocol.js";

const COMMAND_NAMES: Record<number, string> = {
	[Command.READ]: "read",
	[Command.WRITE]: "write",
	[Command.FLUSH]: "flush",
	[Command.TRIM]: "trim",
	[Command.WRITE_ZEROES]: "write zeroes",
	[Command.BLOCK_STATUS]: "block status",
};

/** `words` is the server's own text, which is not trusted. */
export function serverError(
	name: string,
	request: { command: number; offset: number; length: number },
	error: number,
	words: string,
): ImageError {
	const { command, offset, length } = request;
	const reason = ErrorNames[error] ?? `error ${error}`;
	const text = words
		.replace(/[^\x20-\x7e]+/g, " ")
		.trim()
		.slice(0, 200);
	const where = length > 0 ? ` of ${length} bytes at offset ${offset}` : "";
	return new ImageError(
		reason === "ENOSPC" ? "ENOSPC" : "EIO",
		`${name}: ${COMMAND_NAMES[command]}${where} failed: ${reason}${text ? ` (${text})` : ""}`,
		offset,
		length,
	);
}
