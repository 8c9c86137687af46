/**
 * Every bit of what frames data: pack headers, record headers, footers, trailers, whole index segments, whole points.
 * A flip is refused by whoever reads the file next. (damage.test.ts flips sampled bits of whole repositories.)
 */
import { randomBytes } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { FileStore } from "../../src/repository/file-store.js";
import { Keyring } from "../../src/repository/keyring.js";
import { decodePackTrailer } from "../../src/repository/pack-format.js";
import { readPackTable } from "../../src/repository/pack-reader.js";
import { decodePoint } from "../../src/repository/points.js";
import { BadSegment, Segment } from "../../src/repository/segment.js";
import { filesOf, packOf, recordsOf } from "./damage-lab.js";
import { Dice, fresh, MemoryImage, open, readAll, request } from "./helpers.js";

/** Small, so that its files are: blocks that compress. */
const content = Buffer.concat([1, 2, 3].map((seed) => Buffer.alloc(65536, new Dice(seed).bytes(64))));

const one = async (t: Test) => {
	const repository = await fresh(t);
	await repository.backup(request("vm", new MemoryImage(content)));
	await repository.close();
	const store = new FileStore(repository.path, randomBytes, 1);
	t.teardown(() => store.close());
	return { path: repository.path, keyring: new Keyring(repository.id), store };
};

/** Calls `attempt` with every bit of [from, to) of `bytes` flipped in turn; the positions where it returned false. */
const everyBit = async (
	bytes: Buffer,
	from: number,
	to: number,
	attempt: (flipped: Buffer) => boolean | Promise<boolean>,
): Promise<string[]> => {
	const missed: string[] = [];
	for (let at = from; at < to; at++)
		for (let bit = 0; bit < 8; bit++) {
			bytes[at] ^= 1 << bit;
			if (!(await attempt(bytes))) missed.push(`${at}.${bit}`);
			bytes[at] ^= 1 << bit;
		}
	return missed;
};

t.test("pack headers, footers and trailers", async (t) => {
	const { path, keyring, store } = await one(t);
	for (const kind of [1, 2]) {
		const name = packOf(path, kind);
		const pack = name.split("/")[2];
		const bytes = readFileSync(join(path, name));
		const trailer = decodePackTrailer(bytes.subarray(-64), pack, bytes.length);
		if (typeof trailer === "string") throw new Error(trailer);
		const refused = async (flipped: Buffer) => {
			writeFileSync(join(path, name), flipped);
			return (await readPackTable(store, pack, keyring))?.fault !== undefined;
		};
		t.same(await everyBit(bytes, 0, 96, refused), [], `header of kind ${kind}`);
		t.same(
			await everyBit(bytes, trailer.footerOffset, bytes.length, refused),
			[],
			`footer and trailer of kind ${kind}`,
		);
		writeFileSync(join(path, name), bytes);
		t.equal((await readPackTable(store, pack, keyring))?.fault, undefined);
	}
});

t.test("records", async (t) => {
	const { path, store } = await one(t);
	for (const kind of [1, 2]) {
		const file = packOf(path, kind);
		const bytes = readFileSync(join(path, file));
		const { at, length } = recordsOf(path, file)[0];
		const identity = Buffer.from(bytes.subarray(at + 24, at + 56));
		const rawLength = bytes.readUInt32LE(at + 8);
		const target = Buffer.alloc(rawLength);
		const refused = async (flipped: Buffer) => {
			writeFileSync(join(path, file), flipped);
			const read = {
				file,
				position: at,
				length,
				identity,
				type: kind,
				rawLength,
				target,
				targetOffset: 0,
				seal: undefined,
			};
			return (await store.readRecords([read]))[0] !== "ok";
		};
		t.same(await everyBit(bytes, at, at + Math.min(length, 200), refused), [], `kind ${kind}`);
		writeFileSync(join(path, file), bytes);
		t.notOk(await refused(bytes), "and is read when it is whole");
	}
});

t.test("index segments", async (t) => {
	const { path } = await one(t);
	const [name] = filesOf(path, "index");
	const bytes = readFileSync(join(path, name));
	const refused = async (flipped: Buffer) => {
		try {
			const id = name.split("/")[1];
			const source = async (at: number, length: number) => flipped.subarray(at, at + length);
			const segment = await Segment.open(id, flipped.length, true, source);
			await segment.readPages(0, segment.trailer.pages);
			return false;
		} catch (error) {
			if (error instanceof BadSegment) return true;
			throw error;
		}
	};
	t.notOk(await refused(bytes));
	t.same(await everyBit(bytes, 0, bytes.length, refused), [], `${bytes.length} bytes`);
});

t.test("restore points", async (t) => {
	const { path, keyring } = await one(t);
	const [name] = filesOf(path, "points");
	const bytes = readFileSync(join(path, name));
	const refused = (flipped: Buffer) => {
		try {
			decodePoint(flipped, name.split("/")[1], keyring);
			return false;
		} catch {
			return true;
		}
	};
	t.notOk(refused(bytes));
	t.same(await everyBit(bytes, 0, bytes.length, refused), [], `${bytes.length} bytes`);
});

t.test("sampled bits of every file: repair ends with exact bytes or a named loss", { timeout: 300_000 }, async (t) => {
	const { path } = await one(t);
	let tried = 0;
	const dice = new Dice(9);
	for (const name of filesOf(path).filter((name) => /^(packs|index|points)\//.test(name))) {
		const bytes = readFileSync(join(path, name));
		for (let n = 0; n < 5; n++) {
			const at = dice.below(statSync(join(path, name)).size);
			bytes[at] ^= 1 << dice.below(8);
			writeFileSync(join(path, name), bytes);
			const repository = await open(t, path);
			const { faults } = await repository.check({ readData: true });
			if (!faults.some(({ file }) => file === name)) t.fail(`${name} byte ${at}: not found`);
			const { remaining, points } = await repository.repair({});
			const got = await readAll(repository, "vm").catch((error: Error) => error);
			const exact = Buffer.isBuffer(got) && got.equals(content);
			if (Buffer.isBuffer(got) && !exact) t.fail(`${name} byte ${at}: wrong bytes served`);
			if (!exact && remaining.length + points.length === 0) t.fail(`${name} byte ${at}: lost without a word`);
			await repository.backup(request("vm", new MemoryImage(content), n + 1));
			if (!(await readAll(repository, "vm")).equals(content)) t.fail(`${name} byte ${at}: not healed`);
			await repository.close();
			tried += 1;
			if (!filesOf(path).includes(name) && !name.startsWith("points/")) break;
			writeFileSync(join(path, name), bytes);
		}
	}
	t.ok(tried >= 6, `${tried} flips`);
});
