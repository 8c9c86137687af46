/** `--since` and `--changes`: what is read, what is refused. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { backup } from "../../src/backup/index.js";
import { initRepository, openRepository } from "../../src/repository/index.js";

t.test("a backup of what a change tracker names", async (t) => {
	const directory = t.testdir();
	const path = (name: string) => join(directory, name);
	const content = Buffer.alloc(4 << 20, 0);
	for (let at = 0; at < content.length; at += 4) content.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
	writeFileSync(path("a.raw"), content);
	writeFileSync(path("b.raw"), content.subarray(0, 1 << 20));
	await initRepository(path("repo"));
	const repository = await openRepository(path("repo"));
	t.teardown(() => repository.close());
	const disks = [path("a.raw"), `data=${path("b.raw")}`];
	const first = await backup(repository, { vm: "vm", disks });
	content[3_000_000] ^= 1;
	writeFileSync(path("a.raw"), content);
	writeFileSync(path("a.json"), '[{"offset":2998272,"length":4096,"exists":"true"}]');
	const since = first.point.slice(0, 8);
	const second = await backup(repository, { vm: "vm", disks, since, changes: [path("a.json")] });
	t.same(
		second.disks.map(({ read }) => read),
		[65536, 1 << 20],
		"one block of the first disk, all of the second",
	);
	const image = await repository.openDisk(await repository.resolve(`vm@${second.point}`), "disk0");
	const got = Buffer.alloc(content.length);
	await image.read(0, got);
	t.ok(got.equals(content));
	await image.close();

	await backup(repository, { vm: "other", disks: [path("b.raw")] });
	writeFileSync(path("bad.json"), "{");
	writeFileSync(path("object.json"), "{}");
	writeFileSync(path("negative.json"), '[{"offset":0,"length":4},{"offset":-1,"length":4}]');
	const refuse = async (since: string | undefined, changes: string[], message: RegExp | string) =>
		t.rejects(backup(repository, { vm: "vm", disks, since, changes }), { message });
	await refuse(undefined, [path("a.json")], "--changes needs --since POINT: changed since when?");
	await refuse(since, [], /^--since needs --changes/);
	await refuse("other@latest", [path("a.json")], /^--since other@latest: that is a restore point of other, not of vm$/);
	await refuse(since, [`disk7=${path("a.json")}`], /there is no disk disk7; it is one of disk0, data$/);
	await refuse(since, [path("a.json"), `disk0=${path("a.json")}`], /the changes of disk0 are given twice$/);
	await refuse(since, [path("bad.json")], /bad\.json: is not JSON$/);
	await refuse(since, [path("object.json")], /object\.json: is not a JSON array of extents$/);
	await refuse(since, [path("negative.json")], /negative\.json: extent 1 needs "offset" and "length" in bytes$/);
	await refuse(since, [path("none.json")], /none\.json: no such file/);
	t.equal((await repository.points("vm")).length, 2, "nothing of it was kept");
});
