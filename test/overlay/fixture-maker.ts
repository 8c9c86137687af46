/**
 * Makes the session of `fixtures/`: run once for each version of the format, by that version, then kept for ever.
 *
 *   node build/test/overlay/fixture-maker.js test/overlay/fixtures/version-1
 *
 * writes NAME.tar.gz, the files of a session whose process died, and NAME.json, what it held.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SessionTree } from "../../src/overlay/index.js";
import { describe } from "./described.js";
import { create, diskOf, lab, pattern, random } from "./lab.js";

const FILE = { kind: "file" as const, mode: 0o640, uid: 5, gid: 6 };
/** names are bytes, not UTF-8 */
const ODD_NAME = Buffer.from([0xff, 0xfe, 0x20, 0x80]).toString("latin1");

/** Something of everything. Returns the keys of the requests that it made. */
const fill = async (tree: SessionTree, part: string): Promise<string[]> => {
	const chance = random(part.length);
	const disk = diskOf(tree);
	const keys: string[] = [];
	const request = (name: string) => {
		keys.push(`${part}-${name}`.padEnd(16, "\0"));
		return { key: keys[keys.length - 1], reply: Buffer.from(`reply to ${part} ${name}`) };
	};
	for (let i = 0; i < 40; i++) {
		const length = 1 + chance(6000);
		await tree.write(disk, chance(190_000), pattern(i, length, i + part.length), i % 3 === 0);
	}
	// Zeros in place of content, the end cut off and written again, so that the base must stay hidden there.
	await tree.write(disk, 20_480, Buffer.alloc(8192), true);
	await tree.change(disk, { size: 150_000 });
	await tree.change(disk, { size: 180_000 });
	await tree.write(disk, 170_001, pattern(1, 777, 3), true);
	const directory = await tree.create(1, `${part}-dir`, { ...FILE, kind: "directory" }, request("mkdir"));
	const verifier = Buffer.from("8 bytes!");
	await tree.create(directory.id, "exclusive", { ...FILE, verifier }, request("create"));
	const target = Buffer.from("../where/ever".repeat(200));
	await tree.create(directory.id, "link", { ...FILE, kind: "symlink", target });
	await tree.create(directory.id, "node", { ...FILE, kind: "block", rdevMajor: 8, rdevMinor: 17 });
	await tree.create(directory.id, "pipe", { ...FILE, kind: "fifo" });
	const odd = await tree.create(directory.id, ODD_NAME, FILE);
	await tree.write(odd.id, 0, pattern(0, 9000, 4), false);
	await tree.link(odd.id, 1, `${part}-hard`, request("link"));
	const sparse = await tree.create(directory.id, "sparse", FILE);
	await tree.write(sparse.id, 5_000_000, Buffer.from("far away"), true);
	for (const name of ["gone", "old"]) {
		const file = await tree.create(directory.id, name, FILE);
		await tree.write(file.id, 0, pattern(0, 5000, 9), false);
	}
	await tree.remove(directory.id, "gone", request("remove"));
	await tree.rename(directory.id, "old", 1, `${part}-new`, request("rename"));
	await tree.change(sparse.id, { mode: 0o600, mtime: 1_234_567_890_123_456_789n });
	return keys;
};

const name = process.argv[2];
const work = mkdtempSync(join(tmpdir(), "springback-fixture-"));
try {
	const home = join(work, "made");
	mkdirSync(home);
	const tree = await create(lab(home, { reserveBytes: 64 * 1024 }));
	const keys = await fill(tree, "index");
	// Into the index; what comes then is only in the log.
	await (await tree.snapshot(diskOf(tree))).release();
	keys.push(...(await fill(tree, "log")));
	writeFileSync(`${name}.json`, `${JSON.stringify({ keys, ...(await describe(tree, keys)) }, null, "\t")}\n`);
	cpSync(home, join(work, "session"), { recursive: true });
	await tree.close();
	const order = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--sparse"];
	execFileSync("tar", ["-C", work, ...order, "-czf", `${name}.tar.gz`, "session"]);
} finally {
	rmSync(work, { recursive: true });
}
