/** `backup --session`: a session that is written to becomes restore points of its own, each by what changed. */
import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { connectNbd } from "../../src/nbd/index.js";
import { writeDisk } from "./content.js";
import { FREE, MIB } from "./nbd.js";
import { Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

interface Report {
	point: string;
	vm: string;
	since: string;
	disks: { name: string; read: number }[];
}

t.test("restore points of a session", { timeout: 200_000 }, async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	const shadow = [16 * MIB, 8 * MIB].map((size, n) => {
		writeDisk(work.path(`source${n}.raw`), 5 + n, size);
		return readFileSync(work.path(`source${n}.raw`));
	});
	const { point } = await work.backup("vm", work.path("source0.raw"), work.path("source1.raw"));
	const published = await work.publish(["vm", "--session", "s", ...FREE]);
	const disks = await Promise.all(published.ready.nbd.map(({ uris }) => connectNbd(uris[0])));
	t.teardown(() => Promise.all(disks.map((disk) => disk.close())));
	const write = async (n: number, letter: string, offset: number, length: number) => {
		await disks[n].write(offset, Buffer.alloc(length, letter));
		shadow[n].fill(letter, offset, offset + length);
	};
	const backup = (...more: string[]) => work.json<Report>(["backup", "--session", "s", ...more]);
	const expect = async (spec: string) => {
		for (const n of [0, 1]) {
			const file = work.path("out.raw");
			t.equal((await work.cli(["export", spec, "--disk", String(n), "-o", file, "--overwrite"])).code, 0);
			t.ok(readFileSync(file).equals(shadow[n]), `${spec} disk${n}`);
			writeFileSync(file, "");
		}
	};

	await write(0, "a", 65536 * 3 + 100, 4096);
	await write(1, "b", 65536 * 20, 65536 * 2);
	const first = await backup();
	t.match(first, { vm: "vm", since: point, disks: [{ read: 65536 }, { read: 131072 }] });
	await expect(`vm@${first.point}`);
	await write(0, "c", 65536 * 9, 512);
	await disks[1].writeZeroes(0, MIB);
	shadow[1].fill(0, 0, MIB);
	const second = await backup("--as", "other");
	t.match(
		second,
		{ vm: "other", since: first.point, disks: [{ read: 65536 }, {}] },
		"only what is new since the first",
	);
	await expect("other");
	t.match(await work.sessions(), [{ session: "s", unprotectedSince: null }], "nothing was written since");
	t.match((await backup()).disks, [{ read: 0 }, { read: 0 }]);

	await work.killMountd("s");
	const again = await Promise.all(published.ready.nbd.map(({ uris }) => connectNbd(uris[0])));
	disks.splice(0, 2, ...again);
	await write(0, "d", 0, 512);
	t.match(await work.sessions(), [{ session: "s", unprotectedSince: String }]);
	await work.json(["forget", `vm@${(await work.json<{ id: string }[]>(["points", "vm"])).at(-1)!.id}`]);
	const third = await backup();
	t.match(third, { since: second.point, disks: [{ read: 65536 }, { read: 0 }] });
	await expect("vm");

	// A number goes to the first disk, then to the second: at any one moment they are the same, or one apart.
	let writing = true;
	const writer = (async () => {
		for (let n = 1; writing; n++)
			for (const disk of disks) {
				const sector = Buffer.alloc(512);
				sector.writeUInt32LE(n);
				await disk.write(65536 * 30, sector);
			}
	})();
	for (let round = 0; round < 3; round++) {
		const { point: made } = await backup("--as", "moment");
		const [a, b] = await Promise.all(
			[0, 1].map(async (n) => {
				const file = work.path(`moment${n}.raw`);
				const args = ["export", `moment@${made}`, "--disk", String(n), "-o", file, "--overwrite"];
				t.equal((await work.cli(args)).code, 0);
				return readFileSync(file).readUInt32LE(65536 * 30);
			}),
		);
		t.ok(a > 0 && (a === b || a === b + 1), `${a} and ${b}: of one moment`);
	}
	writing = false;
	await writer;

	for (const [args, code, words] of [
		[["--session", "none"], 2, /no session none/],
		[["vm", "--session", "s"], 2, /one argument too many/],
		[["--session", "s", "--host", "x"], 2, /--host does not go with --session/],
	] as const) {
		const run = await work.cli(["backup", ...args]);
		t.match([run.code, run.stderr], [code, words], args.join(" "));
	}
	await work.json(["init", "--repo", work.path("second")]);
	const wrong = await work.cli(["backup", "--session", "s", "--repo", work.path("second")]);
	t.match([wrong.code, wrong.stderr], [2, /lies over a point of another repository/]);
	await Promise.all(disks.map((disk) => disk.close()));
	await work.stop(published);
	const parked = await work.cli(["backup", "--session", "s"]);
	t.match(
		[parked.code, parked.stderr],
		[1, /session s is not served: continue it with springback publish vm --session s/],
	);
});
