/**
 * `session`: what never changes of a session, as JSON. Written last when it is made, so that a directory without
 * it is no session.
 */
import { constants } from "node:fs";
import { type SystemError, sys } from "../../native/index.js";
import { OverlayError } from "./contract.js";

export interface SessionFile {
	uuid: Buffer;
	secret: bigint;
	segmentBytes: number;
	bases: { baseSize: number; size: number }[];
}

const FORMAT = "springback-overlay";
const VERSION = 1;

export const writeSessionFile = (directory: string, session: SessionFile): void => {
	const text = JSON.stringify({
		format: FORMAT,
		version: VERSION,
		compatible: [],
		readCompatible: [],
		incompatible: [],
		uuid: session.uuid.toString("hex"),
		secret: session.secret.toString(16).padStart(16, "0"),
		segmentBytes: session.segmentBytes,
		bases: session.bases,
	});
	const temporary = `${directory}/session.tmp`;
	const fd = sys.open(temporary, constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC, 0o600);
	try {
		sys.pwrite(fd, Buffer.from(`${text}\n`), 0);
		sys.fsync(fd);
	} finally {
		sys.close(fd);
	}
	sys.rename(temporary, `${directory}/session`);
	sys.fsyncDirectory(directory);
};

/** Throws OverlayError: ENOENT when there is no session, ECORRUPT or EINVAL when it cannot be used. */
export const readSessionFile = (directory: string): SessionFile => {
	const path = `${directory}/session`;
	const damaged = (what: string): OverlayError => new OverlayError("ECORRUPT", `${path}: ${what}`);
	let parsed: Record<string, unknown>;
	try {
		parsed = JSON.parse(readAll(path)) as Record<string, unknown>;
	} catch (cause) {
		if ((cause as SystemError).code === "ENOENT") {
			throw new OverlayError("ENOENT", `${directory} holds no session (it was never completely made)`, { cause });
		}
		if (cause instanceof SyntaxError) throw damaged("not a session file");
		throw new OverlayError("EIO", `${path}: ${(cause as Error).message}`, { cause });
	}
	if (parsed.format !== FORMAT) throw damaged("not a session file");
	const lists = [parsed.compatible, parsed.readCompatible, parsed.incompatible];
	if (!Number.isSafeInteger(parsed.version) || !lists.every(Array.isArray)) throw damaged("fields are missing");
	const unknown = [parsed.incompatible, parsed.readCompatible].flat();
	if ((parsed.version as number) > VERSION || unknown.length > 0) {
		const what = unknown.length > 0 ? `features ${unknown.join(", ")}` : `version ${parsed.version}`;
		throw new OverlayError("EINVAL", `${path} needs ${what}: update springback`);
	}
	const { uuid, secret, segmentBytes, bases } = parsed;
	const sane =
		typeof uuid === "string" &&
		/^[0-9a-f]{32}$/.test(uuid) &&
		typeof secret === "string" &&
		/^[0-9a-f]{16}$/.test(secret) &&
		Number.isSafeInteger(segmentBytes) &&
		Array.isArray(bases);
	if (!sane) throw damaged("fields are missing");
	return {
		uuid: Buffer.from(uuid, "hex"),
		secret: BigInt(`0x${secret}`),
		segmentBytes: segmentBytes as number,
		bases: bases as SessionFile["bases"],
	};
};

const readAll = (path: string): string => {
	const fd = sys.open(path, constants.O_RDONLY);
	try {
		const bytes = Buffer.alloc(sys.fstat(fd).size);
		return bytes.subarray(0, sys.pread(fd, bytes, 0)).toString("utf8");
	} finally {
		sys.close(fd);
	}
};
