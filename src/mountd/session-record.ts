/**
 * `session.json`: everything about a session that is not in its overlay log. Written atomically (new file, sync,
 * rename, directory sync), because a half-written record would hide the writes of a running VM.
 */
import { join } from "node:path";
import { readFileWhole, replaceFileDurably } from "../../native/durable-file.js";
import { ControlError } from "./protocol.js";

export interface SessionRecord {
	version: 1;
	/** 32 hex digits */
	uuid: string;
	name: string;
	/** 1 to 2^23 - 1, never reused */
	number: number;
	state: "open" | "parked";
	/** its name was chosen by a person: kept even when nothing was written */
	named: boolean;
	repository: string;
	repositoryId: string;
	point: string;
	pointTime: string;
	vm: string;
	disks: { name: string; size: number }[];
	/** UTC */
	created: string;
	listen: string;
	clients: string[];
	ownerUid: number;
	readOnly: boolean;
	/** only for clients that come from a port below 1024 */
	privilegedPorts?: boolean;
	/** every write is made stable, also one that the client calls unstable */
	sync?: boolean;
	/** UTC, or null while nothing was written */
	unprotectedSince: string | null;
	/** as of the last time the session was served */
	lastWrite: string | null;
	writtenBytes: number;
	/** in the trash since, UTC */
	trashed?: string;
}

const FILE = "session.json";

export function readRecord(directory: string): SessionRecord {
	const path = join(directory, FILE);
	try {
		const record = JSON.parse(readFileWhole(path).toString("utf8")) as SessionRecord;
		if (record.version !== 1 || !/^[0-9a-f]{32}$/.test(record.uuid) || typeof record.name !== "string")
			throw new ControlError("DAMAGED", `${path}: not a session record of this version`);
		return record;
	} catch (error) {
		if (error instanceof SyntaxError) throw new ControlError("DAMAGED", `${path}: not readable as JSON`);
		throw error;
	}
}

export function writeRecord(directory: string, record: SessionRecord): void {
	replaceFileDurably(join(directory, FILE), Buffer.from(`${JSON.stringify(record, null, "\t")}\n`));
}
