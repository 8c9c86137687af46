/** Index segments: look-ups against a plain map, the filter, merging, many backups. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { FileStore } from "../../src/repository/file-store.js";
import { ENTRY_BYTES, IdentityTable, writeEntry } from "../../src/repository/identity-table.js";
import { Index } from "../../src/repository/index-set.js";
import { Keyring } from "../../src/repository/keyring.js";
import { packName } from "../../src/repository/layout.js";
import { BLOCK, Dice, fresh, MemoryImage, randomFrom, readAll, request } from "./helpers.js";

t.test("table: finds what was added, through growth", async (t) => {
	const table = new IdentityTable();
	const dice = new Dice(1);
	const identities = Array.from({ length: 5000 }, () => dice.bytes(32));
	for (const [n, identity] of identities.entries()) {
		t.equal(table.find(identity, 0, 1), -1);
		t.equal(table.add(identity, 0, 1, 100), n);
	}
	t.ok(identities.every((identity, n) => table.find(identity, 0, 1) === n && table.find(identity, 0, 2) === -1));
	table.clear();
	t.ok(identities.every((identity) => table.find(identity, 0, 1) === -1));
});

t.test("segments: every entry is found, absent ones mostly without I/O, merging keeps all", async (t) => {
	const { path, id } = await fresh(t);
	const store = new FileStore(path, randomFrom("segments"), 2);
	t.teardown(() => store.close());
	const index = new Index(store, new Keyring(id), randomFrom("index"));
	const dice = new Dice(2);
	const all: Buffer[] = [];
	const offsets: number[] = [];
	for (let segment = 0; segment < 5; segment++) {
		const count = 3000 + segment;
		const entries = Buffer.alloc(count * ENTRY_BYTES);
		for (let n = 0; n < count; n++) {
			const identity = n < 50 && segment > 0 ? all[n] : dice.bytes(32);
			if (n >= 50 || segment === 0) {
				all.push(identity);
				offsets.push(n * 100);
			}
			writeEntry(entries, n * ENTRY_BYTES, identity, n % 2, n * 100, 90, 1, BLOCK);
		}
		const packs = ["a", "b"].map((letter) => ({ id: `${segment}`.padEnd(32, letter), size: 1 }));
		for (const { id } of packs) {
			// A merge drops entries of packs that are not there.
			mkdirSync(join(path, "packs", id.slice(0, 2)));
			writeFileSync(join(path, packName(id)), "");
		}
		await index.put(entries, count, packs);
	}
	const verify = async (what: string) => {
		let wrong = 0;
		for (const [n, identity] of all.entries()) {
			const found = await index.find(identity, 0, 1);
			if (found?.offset !== offsets[n] || found.length !== 90 || found.rawLength !== BLOCK) wrong += 1;
		}
		t.equal(wrong, 0, what);
		t.equal(await index.find(all[0], 0, 2), null, "another type");
	};
	await verify("five segments");
	t.ok(index.find(all[9], 0, 1) instanceof Promise === false, "in memory by now");
	await index.merge(new Set());
	t.equal(index.segments.length, 1);
	t.equal(index.segments[0].trailer.entries, all.length, "duplicates are dropped");
	t.equal(readdirSync(join(path, "index")).length, 1);
	await verify("merged");
	let maybe = 0;
	for (let n = 0; n < 20_000; n++) if (index.segments[0].mayHave(dice.bytes(32), 0)) maybe += 1;
	t.ok(maybe < 200, `${maybe} of 20000 are false "there"`);
	const other = new Index(store, new Keyring(id), randomFrom("other"));
	await other.refresh();
	t.equal((await other.find(all.at(-1)!, 0, 1))?.offset, offsets.at(-1));
});

t.test("many backups keep few segments", async (t) => {
	const repository = await fresh(t);
	const dice = new Dice(3);
	const contents: Buffer[] = [];
	for (let n = 0; n < 20; n++) {
		contents.push(dice.bytes(3 * BLOCK));
		await repository.backup(request("vm", new MemoryImage(contents[n]), n));
	}
	t.ok(readdirSync(join(repository.path, "index")).length <= 4);
	for (const [n, { id }] of (await repository.points()).entries())
		t.ok((await readAll(repository, `vm@${id}`)).equals(contents[n]));
	t.same((await repository.check({ readData: true })).faults, []);
});
