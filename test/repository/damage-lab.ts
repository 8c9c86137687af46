/** Ways to hurt a repository, for the tests of check, repair and rebuild. */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { xxh3 } from "../../native/index.js";
import type { Repository } from "../../src/repository/index.js";
import { PACK_HEADER_BYTES } from "../../src/repository/pack-format.js";

/** Files below a folder, relative to `path`, sorted. */
export const filesOf = (path: string, below = ""): string[] =>
	readdirSync(join(path, below), { withFileTypes: true })
		.flatMap((entry) => (entry.isDirectory() ? filesOf(path, join(below, entry.name)) : [join(below, entry.name)]))
		.sort();

/** The largest pack of a kind (1 data, 2 pages and objects), relative. */
export const packOf = (path: string, kind: number): string => {
	const packs = filesOf(path, "packs").filter((name) => readFileSync(join(path, name))[8] === kind);
	return packs.sort((a, b) => statSync(join(path, b)).size - statSync(join(path, a)).size)[0];
};

/** Flips one bit. */
export const flip = (path: string, name: string, at: number, bit = 0): void => {
	const bytes = readFileSync(join(path, name));
	bytes[at < 0 ? bytes.length + at : at] ^= 1 << bit;
	writeFileSync(join(path, name), bytes);
};

/** Changes the content of a plain record and makes its checksum right again: only its identity still tells. */
export const forge = (path: string, name: string, at: number): void => {
	const bytes = readFileSync(join(path, name));
	if (bytes[at + 5] !== 0) throw new Error("only a record that is stored raw is known to decode after this");
	bytes[at + 56 + 5] ^= 1;
	const record = bytes.subarray(at, at + 56 + bytes.readUInt32LE(at + 12));
	record.writeBigUInt64LE(xxh3(Buffer.concat([record.subarray(0, 16), record.subarray(24)])), 16);
	writeFileSync(join(path, name), bytes);
};

/** Where the records of a good pack begin, by its headers. */
export const recordsOf = (path: string, name: string): { at: number; length: number }[] => {
	const bytes = readFileSync(join(path, name));
	const records: { at: number; length: number }[] = [];
	for (let at = PACK_HEADER_BYTES; bytes.toString("latin1", at, at + 4) === "SBR1"; ) {
		const length = 56 + bytes.readUInt32LE(at + 12);
		records.push({ at, length });
		at += length;
	}
	return records;
};

/** What may not change when nothing is to be done: names and contents of all files but locks. */
export const stateOf = (repository: Repository): Record<string, string> =>
	Object.fromEntries(
		filesOf(repository.path)
			.filter((name) => !name.startsWith("locks/"))
			.map((name) => [name, readFileSync(join(repository.path, name)).toString("base64")]),
	);
