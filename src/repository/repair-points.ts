/**
 * Repair, the restore points: a file that is damaged is moved aside with a report, so that prune and check go on without it.
 * What its bytes and other points still tell of it is said.
 */
import { lz4Decompress } from "../../native/index.js";
import type { QuarantinedPoint } from "./contract.js";
import { causeOf, codeOf } from "./errors.js";
import { holdText, readHolds } from "./holds.js";
import type { Keyring } from "./keyring.js";
import { CODEC, LOCK_PINS, OBJECT_MAX_BYTES, pinByte, pointName, RECORD_HEADER_BYTES } from "./layout.js";
import { checkVmName } from "./names.js";
import { decodePoint, PointStore, type StoredPoint } from "./points.js";
import { moveAside } from "./quarantine.js";
import type { Store } from "./store.js";
import { secondsText } from "./time.js";

export interface PointContext {
	store: Store;
	keyring: Keyring;
	dryRun: boolean;
	now: () => Date;
}

/** Points that were (dry run: would be) moved aside, and why the others that are damaged stay where they are. */
export interface DamagedPoints {
	moved: QuarantinedPoint[];
	kept: Map<string, string>;
}

/** Moves every damaged restore point aside that nobody uses or holds. A file that the disk cannot read stays: it may be good. */
export const quarantinePoints = async (context: PointContext): Promise<DamagedPoints> => {
	const { store, keyring } = context;
	const points = new PointStore(store, keyring);
	const good = await points.list();
	const result: DamagedPoints = { moved: [], kept: new Map() };
	for (const id of [...points.bad.keys()].sort()) {
		const outcome = await quarantineOne(id, good, context);
		if (typeof outcome === "string") result.kept.set(id, outcome);
		else if (outcome !== undefined) result.moved.push(outcome);
	}
	return result;
};

/** Undefined: gone, or good after all; a string: why it stays. */
const quarantineOne = async (
	id: string,
	good: StoredPoint[],
	{ store, keyring, dryRun, now }: PointContext,
): Promise<QuarantinedPoint | string | undefined> => {
	// Who reads the point through a session has it pinned, and needs its blocks.
	const pin = dryRun ? undefined : await store.lock(LOCK_PINS, pinByte(id), "exclusive");
	if (!dryRun && pin === undefined) return "in use by a reader: try again when that has ended";
	try {
		const bytes = await fileOf(store, id);
		if (bytes === undefined) return undefined;
		if (typeof bytes === "string") return bytes;
		const why = faultOf(bytes, id, keyring);
		if (why === undefined) return undefined;
		const { holds, bad } = await readHolds(store, keyring);
		if (bad.length > 0) return `${bad[0].file} is damaged and may hold it: remove that file first`;
		const hold = holds.find(({ point }) => point === id);
		if (hold !== undefined) return `${holdText(hold)}: release it first, or restore the file from a copy`;
		const vm = vmOf(id, bytes, good, keyring);
		const modified = await store.modified(pointName(id));
		const written = modified === undefined ? null : secondsText(modified);
		const found = { point: id, file: pointName(id), why, vm, written };
		if (dryRun) return found;
		const file = await moveAside(store, pointName(id), `point-${id}`, {
			version: 1,
			repository: keyring.repository,
			point: id,
			quarantined: now().toISOString(),
			why,
			size: bytes.length,
			written,
			// Beside encrypted data the report keeps quiet about names.
			...(keyring.encrypted ? {} : { vm }),
		});
		return { ...found, file };
	} finally {
		pin?.release();
	}
};

/** The file's bytes; undefined when it is gone; a string says why it cannot be read. */
const fileOf = async (store: Store, id: string): Promise<Buffer | string | undefined> => {
	try {
		const size = await store.size(pointName(id));
		return size === undefined ? undefined : await store.read(pointName(id), 0, size);
	} catch (error) {
		return codeOf(error) === "ENOENT" ? undefined : `cannot be read: ${causeOf(error)}`;
	}
};

const faultOf = (bytes: Buffer, id: string, keyring: Keyring): string | undefined => {
	try {
		decodePoint(bytes, id, keyring);
		return undefined;
	} catch (error) {
		return causeOf(error);
	}
};

/** Whose point it was: the next one of that VM names it, or, not encrypted, what is left of its text does. */
const vmOf = (id: string, bytes: Buffer, good: StoredPoint[], keyring: Keyring): string | null => {
	const child = good.find(({ parent }) => parent === id);
	if (child !== undefined) return child.vm;
	if (keyring.encrypted) return null;
	const [, quoted] = /"vm":("(?:[^"\\]|\\.){1,1000}")/.exec(textOf(bytes)) ?? [];
	if (quoted === undefined) return null;
	try {
		const name: string = JSON.parse(quoted);
		checkVmName(name);
		return name;
	} catch {
		return null;
	}
};

/** What the payload says, right or wrong. */
const textOf = (bytes: Buffer): string => {
	const payload = bytes.subarray(RECORD_HEADER_BYTES);
	if (payload.length === 0 || bytes[5] !== CODEC.lz4) return payload.toString();
	const plain = Buffer.alloc(Math.min(bytes.readUInt32LE(8), OBJECT_MAX_BYTES));
	try {
		return plain.toString("utf8", 0, lz4Decompress(payload, plain));
	} catch {
		// As far as it could be decompressed; and the words behind that, which are there as they are.
		return `${plain.toString()}\n${payload.toString()}`;
	}
};
