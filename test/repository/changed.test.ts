/** Backups that read only what changed. */
import t from "tap";
import { BLOCK, Dice, fresh, MemoryImage, MIB, readAll, request } from "./helpers.js";

t.test("a chain of changes equals the disk every time, whatever its size", async (t) => {
	const repository = await fresh(t);
	const dice = new Dice(9);
	let content = dice.bytes(20 * MIB + 777);
	let { point } = await repository.backup(request("vm", new MemoryImage(content)));
	const sizes = [
		content.length,
		content.length,
		3 * MIB + 1,
		3 * MIB + 1,
		4 * MIB,
		30 * MIB + 5,
		64 * BLOCK,
		64 * BLOCK + 1,
		0,
		70_000,
	];
	for (const [n, size] of sizes.entries()) {
		const next = Buffer.alloc(size);
		content.copy(next);
		const extents: { offset: number; length: number }[] = [];
		if (size > content.length) dice.bytes(size - content.length).copy(next, content.length);
		for (let k = dice.below(6); k > 0 && size > 0; k--) {
			const offset = dice.below(size);
			const length = Math.min(size - offset, 1 + dice.below(k === 1 ? 6 * MIB : 100_000));
			if (dice.below(3) === 0) next.fill(0, offset, offset + length);
			else dice.bytes(length).copy(next, offset);
			extents.push({ offset, length });
		}
		const source = { name: "disk0", image: new MemoryImage(next), changed: { since: point.id, extents } };
		const done = await repository.backup({ ...request("vm", source.image, n + 1), disks: [source] });
		t.ok((await readAll(repository, `vm@${done.point.id}`)).equals(next), `${content.length} to ${size} bytes`);
		const twin = await repository.backup(request("twin", new MemoryImage(next), n + 1));
		t.equal(twin.disks[0].new, 0, "a full backup of the same finds everything there");
		t.equal(twin.point.size_new, 0, "its map included");
		[content, point] = [next, done.point];
	}
	t.same((await repository.check({ readData: true })).faults, []);
});

t.test("only what changed is read", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(4).bytes(32 * MIB);
	const { point } = await repository.backup(request("vm", new MemoryImage(content)));
	content[5 * MIB] ^= 1;
	content.fill(0, 8 * MIB, 16 * MIB);
	const image = new MemoryImage(content, [{ offset: 8 * MIB, length: 8 * MIB }]);
	const extents = [
		{ offset: 8 * MIB, length: 8 * MIB },
		{ offset: 5 * MIB, length: 1 },
	];
	const { disks, point: second } = await repository.backup({
		...request("vm", image, 1),
		disks: [{ name: "disk0", image, changed: { since: point.id, extents } }],
	});
	t.equal(disks[0].read, BLOCK, "one block; what was discarded is not read");
	t.equal(disks[0].new, BLOCK);
	t.ok((await readAll(repository, `vm@${second.id}`)).equals(content));
});

t.test("a base that is not there is refused, and nothing is kept", async (t) => {
	const repository = await fresh(t);
	const image = new MemoryImage(new Dice(4).bytes(MIB));
	const { point } = await repository.backup(request("vm", image));
	const backup = (since: string, name: string) =>
		repository.backup({ ...request("vm", image, 1), disks: [{ name, image, changed: { since, extents: [] } }] });
	await t.rejects(backup("0".repeat(32), "disk0"), { code: "UNKNOWN_POINT", message: /000 of vm is gone/ });
	await t.rejects(backup(point.id, "other"), {
		code: "UNKNOWN_POINT",
		message: /of vm has no disk other: it has disk0/,
	});
	t.equal((await repository.points()).length, 1);
});
