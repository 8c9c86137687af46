/**
 * The installation's identity, made once and kept beside the sessions: the fsid that hypervisors remember and
 * the key that signs file handles. Losing it makes every mounted handle stale, so it is written durably first.
 */
import { randomBytes } from "node:crypto";
import { readFileWhole, replaceFileDurably } from "../../native/durable-file.js";

export interface DatastoreIdentity {
	fsid: bigint;
	/** 32 bytes */
	handleKey: Buffer;
}

/** Reads `path`, or creates it (mode 0600) when it is not there. Throws when it is there but damaged. */
export function loadIdentity(path: string, random: (n: number) => Buffer = randomBytes): DatastoreIdentity {
	let text: string;
	try {
		text = readFileWhole(path).toString("utf8");
	} catch (error) {
		if ((error as { code?: string }).code !== "ENOENT") throw error;
		return createIdentity(path, random);
	}
	try {
		const parsed = JSON.parse(text) as { fsid: string; handleKey: string };
		const handleKey = Buffer.from(parsed.handleKey, "hex");
		if (handleKey.length !== 32 || !/^[0-9a-f]{16}$/.test(parsed.fsid)) throw new Error("fields missing");
		return { fsid: BigInt(`0x${parsed.fsid}`), handleKey };
	} catch (cause) {
		throw new Error(
			`${path}: the datastore's identity is damaged; restore it from a copy, or move it away when no client has a session mounted`,
			{ cause },
		);
	}
}

function createIdentity(path: string, random: (n: number) => Buffer): DatastoreIdentity {
	// 63 bits: some clients print or compare fsids as signed numbers.
	const fsid = random(8).readBigUInt64BE() >> 1n;
	const handleKey = random(32);
	const text = `${JSON.stringify({ fsid: fsid.toString(16).padStart(16, "0"), handleKey: handleKey.toString("hex") })}\n`;
	replaceFileDurably(path, Buffer.from(text));
	return { fsid, handleKey };
}
