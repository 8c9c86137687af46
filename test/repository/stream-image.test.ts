/** Disks that are read once: exact at any place and size, past the cache, and every damage is an error that names its place. */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { BLOCK, Dice, encrypted, fresh, MemoryImage, MIB, open, PASSPHRASE, request } from "./helpers.js";

const SIZE = 6 * MIB + 777;
const HOLE = { offset: 2 * MIB, length: MIB };

const disk = (seed: number): Buffer => {
	const content = new Dice(seed).bytes(SIZE);
	content.fill(0, HOLE.offset, HOLE.offset + HOLE.length);
	// Twice the same, and compressible.
	content.copy(content, 4 * MIB, 0, MIB);
	content.fill(7, 5 * MIB, 5 * MIB + 3 * BLOCK);
	return content;
};

for (const kind of ["plain", "encrypted"] as const)
	t.test(`${kind}: reads of any size at any place`, async (t) => {
		const repository = kind === "plain" ? await fresh(t) : await encrypted(t);
		const content = disk(1);
		const { point } = await repository.backup(request("vm", new MemoryImage(content)));
		const reader = await open(t, repository.path, { hashContent: true, ...(kind === "plain" ? {} : PASSPHRASE) });
		const image = await reader.openDisk(point, "disk0", { once: true });
		t.equal(image.size, SIZE);
		t.match((await image.extents(0, SIZE)).slice(1, 2), [{ ...HOLE, kind: /zero|unallocated/ }]);
		const dice = new Dice(2);
		const reads = Array.from({ length: 60 }, async (_, n) => {
			const offset = n === 0 ? 0 : dice.below(SIZE);
			const length = n === 0 ? SIZE : dice.below(Math.min(SIZE - offset, n % 2 ? BLOCK * 20 : 5000) + 1);
			const target = Buffer.alloc(length, 0xee);
			await image.read(offset, target);
			if (!target.equals(content.subarray(offset, offset + length))) t.fail(`${length} bytes at ${offset} differ`);
		});
		await Promise.all(reads);
		await t.rejects(async () => image.read(SIZE - 1, Buffer.alloc(2)), RangeError);
		const last = image.read(0, Buffer.alloc(SIZE));
		await image.close();
		await last;
		await t.rejects(async () => image.read(0, Buffer.alloc(1)), { code: "ECLOSED" });
	});

t.test("damage: the error names disk, place and pack", async (t) => {
	const repository = await fresh(t);
	const content = disk(3);
	const { point } = await repository.backup(request("vm", new MemoryImage(content)));
	const packs = join(repository.path, "packs");
	const all = readdirSync(packs).flatMap((two) => readdirSync(join(packs, two)).map((id) => join(packs, two, id)));
	const data = all.sort((a, b) => statSync(b).size - statSync(a).size)[0];
	const bytes = readFileSync(data);
	bytes[96 + 5 * (BLOCK + 56) + 1000] ^= 1;
	writeFileSync(data, bytes);
	const reader = await open(t, repository.path);
	const image = await reader.openDisk(point, "disk0", { once: true });
	await t.rejects(image.read(0, Buffer.alloc(MIB)) as Promise<void>, {
		name: "ImageError",
		code: "ECORRUPT",
		message: /^vm@[0-9a-f]{12} disk0 at offset 327680: .*packs.*checksum differs/,
	});
	const rest = Buffer.alloc(MIB);
	await image.read(MIB, rest);
	t.ok(rest.equals(content.subarray(MIB, 2 * MIB)), "the rest is served");
	await image.close();
});
