/** Sessions that another version of Springback wrote: older ones open with all that they held, newer ones as they allow. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { openSession } from "../../src/overlay/index.js";
import { type Described, describe } from "./described.js";
import { create, diskOf, lab, pattern, readAll, temporary } from "./lab.js";

const FIXTURES = fileURLToPath(new URL("../../../test/overlay/fixtures", import.meta.url));
const names = readdirSync(FIXTURES).flatMap((file) => (file.endsWith(".json") ? [basename(file, ".json")] : []));

t.ok(names.includes("version-1"), "the first version is among them");

for (const name of names)
	t.test(`a session of ${name} whose process died`, async (t) => {
		const directory = join(temporary(t), "session");
		execFileSync("tar", ["-C", join(directory, ".."), "-xzf", join(FIXTURES, `${name}.tar.gz`)]);
		const recorded = JSON.parse(readFileSync(join(FIXTURES, `${name}.json`), "utf8")) as Described & { keys: string[] };
		const { keys, ...held } = recorded;
		const { options } = lab(directory, { reserveBytes: 64 * 1024 });
		let tree = await openSession(options);
		t.strictSame(await describe(tree, keys), held, "every name, attribute, byte and reply is as it was recorded");
		const disk = diskOf(tree);
		const data = pattern(0, 5000, 77);
		const { mtime } = tree.inode(disk)!;
		await tree.write(disk, 100, data, true);
		t.ok(tree.inode(disk)!.mtime > mtime, "time goes on");
		const made = await tree.create(1, "made by this version", { kind: "file", mode: 0o600, uid: 0, gid: 0 });
		const highest = Math.max(...held.inodes.map(({ id }) => id as number));
		t.ok(made.id > highest, "a fileid is not used again");
		await tree.close();
		tree = await openSession(options);
		t.ok((await readAll(tree, disk, 100, data.length)).equals(data), "what this version wrote is there");
		await tree.remove(1, "made by this version");
		const changed = new Set([1, disk]);
		const others = ({ inodes }: Described) => inodes.filter(({ id }) => !changed.has(id as number));
		t.strictSame(others(await describe(tree, keys)), others(held), "and the rest is still as it was");
		await tree.close();
	});

t.test("a session of a newer version", async (t) => {
	const l = lab(temporary(t));
	const tree = await create(l);
	await tree.close();
	const path = join(l.directory, "session");
	const session = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
	const files = () => readdirSync(l.directory).map((name) => [name, readFileSync(join(l.directory, name))]);
	for (const [change, message] of [
		[{ version: 2 }, `${path} needs version 2: update springback`],
		[{ version: 2, incompatible: ["holograms"] }, `${path} needs features holograms: update springback`],
		[{ incompatible: ["holograms", "x"] }, `${path} needs features holograms, x: update springback`],
		// A reader may go on where a writer must not, and who opens a session writes.
		[{ readCompatible: ["tidemarks"] }, `${path} needs features tidemarks: update springback`],
		[
			{ readCompatible: ["tidemarks"], incompatible: ["holograms"] },
			`${path} needs features holograms, tidemarks: update springback`,
		],
	] as const) {
		writeFileSync(path, JSON.stringify({ ...session, ...change }));
		const before = files();
		await t.rejects(openSession(l.options), { code: "EINVAL", message }, JSON.stringify(change));
		t.strictSame(files(), before, "and nothing is changed");
	}
	// What is only said to be compatible, and fields that this version does not know, are nobody's business.
	writeFileSync(path, JSON.stringify({ ...session, compatible: ["fancy hats"], hats: 3 }));
	const opened = await openSession(l.options);
	t.equal(opened.inode(diskOf(opened))?.kind, "file", "unknown compatible features do not matter");
	await opened.close();
	t.match(readFileSync(path, "utf8"), /fancy hats/, "and stay");
	for (const broken of [{ format: "other" }, { version: "two" }, { incompatible: "x" }, { uuid: "0" }]) {
		writeFileSync(path, JSON.stringify({ ...session, ...broken }));
		await t.rejects(openSession(l.options), { code: "ECORRUPT" }, JSON.stringify(broken));
	}
});
