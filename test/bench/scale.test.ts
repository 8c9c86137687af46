/** The synthetic disk and the points made of it, plots, and memory that is watched. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import t from "tap";
import { BLOCK_SIZE, DISK_SIZE, SyntheticDisk } from "../../bench/data/synthetic-disk.js";
import { anonymousBytes, watched } from "../../bench/measure/memory.js";
import { label, type Plot, svg } from "../../bench/measure/plot.js";
import { initRepository, openRepository } from "../../src/repository/index.js";

const GENERATOR = fileURLToPath(new URL("../../bench/data/synthetic-points.js", import.meta.url));
const MOST = 40_000;

t.test("the disk: data in runs, changes inside them, content by block and point", async (t) => {
	const disk = new SyntheticDisk(20_000, MOST, 3);
	const extents = disk.extents(0, DISK_SIZE);
	t.equal(
		extents.reduce((sum, { length }) => sum + length, 0),
		DISK_SIZE,
		"no gap",
	);
	const data = extents.filter(({ kind }) => kind === "data");
	t.equal(
		data.reduce((sum, { length }) => sum + length, 0),
		20_000 * BLOCK_SIZE,
	);
	t.equal(data.length, 2, "runs of 1 GiB");
	const changes = disk.changes(100);
	const inside = ({ offset, length }: { offset: number; length: number }) =>
		data.some((run) => offset >= run.offset && offset + length <= run.offset + run.length);
	t.ok(changes.length > 10 && changes.every(inside));
	t.same(changes, new SyntheticDisk(20_000, MOST, 3).changes(100), "the same in every run");
	t.notSame(changes, new SyntheticDisk(20_000, MOST, 4).changes(100), "others in another point");
	const read = (offset: number, point: number) => {
		const block = Buffer.alloc(BLOCK_SIZE);
		new SyntheticDisk(20_000, MOST, point).read(offset, block);
		return block;
	};
	t.ok(read(0, 1).equals(read(0, 1)));
	t.notOk(read(0, 1).equals(read(0, 2)));
	t.notOk(read(0, 1).equals(read(BLOCK_SIZE, 1)));
	t.throws(() => new SyntheticDisk(1, 200_000_000, 0), /do not fit/);
});

t.test("the points: a repository in which check finds nothing wrong, and on which the next run goes on", async (t) => {
	const path = `${t.testdir()}/repository`;
	await initRepository(path);
	const make = (steps: object[]) =>
		execFileSync(process.execPath, [GENERATOR, path, JSON.stringify({ vm: "big", most: MOST, steps })], {
			encoding: "utf8",
			env: { ...process.env, NODE_OPTIONS: "" },
		})
			.trim()
			.split("\n")
			.map((line) => JSON.parse(line) as { new: number; read: number });
	t.match(make([{ populated: 300 }, { populated: 500 }]), [{ new: 300 }, { new: 200, read: 200 }]);
	const [{ new: changed }] = make([{ changed: 20 }]);
	t.ok(changed > 10 && changed <= 20, `${changed} blocks changed`);
	const repository = await openRepository(path);
	t.teardown(() => repository.close());
	const points = await repository.points();
	t.same(
		points.map(({ disks, facts }) => [disks[0].size, facts.populated]),
		[300, 500, 500].map((populated) => [DISK_SIZE, populated]),
	);
	t.match(await repository.check({ readData: true }), { faults: [], points: 3, blocks: 500 + changed });
	const image = await repository.openDisk(points[1], "disk0");
	const block = Buffer.alloc(BLOCK_SIZE);
	await image.read(400 * BLOCK_SIZE, block);
	const expected = Buffer.alloc(BLOCK_SIZE);
	new SyntheticDisk(500, MOST, 1).read(400 * BLOCK_SIZE, expected);
	t.ok(block.equals(expected), "of the point in which it was first there");
	await image.close();
});

const PLOT: Plot = {
	...{ name: "example", title: "Growth & more", x: "points", y: "ms" },
	lines: [
		{
			name: "list",
			points: [
				{ x: 1, y: 10 },
				{ x: 1000, y: 100 },
			],
		},
		{
			name: "goal",
			points: [
				{ x: 1, y: 200 },
				{ x: 1000, y: 200 },
			],
			guide: true,
		},
	],
};

t.test("plots: everything is in the picture, a decade is as long as any other", async (t) => {
	const picture = svg(PLOT);
	for (const text of ["Growth &amp; more", ">points<", ">ms<", ">list<", ">goal<", ">1,000<"])
		t.ok(picture.includes(text), text);
	const lines = [...picture.matchAll(/<polyline points="([^"]+)"([^>]*)/g)];
	t.equal(lines.length, 2);
	t.notMatch(lines[0][2], /dasharray/);
	t.match(lines[1][2], /dasharray/);
	const places = lines.flatMap(([, points]) => points.split(" ").map((point) => point.split(",").map(Number)));
	t.ok(places.flat().every((place) => place > 0 && place < 760));
	const middle = svg({
		...PLOT,
		lines: [
			{
				name: "a",
				points: [1, 10, 100].map((both) => ({ x: both, y: both })),
			},
		],
	});
	const [a, b, c] = /<polyline points="([^"]+)"/
		.exec(middle)![1]
		.split(" ")
		.map((point) => Number(point.split(",")[0]));
	t.ok(Math.abs(b - a - (c - b)) < 0.2);
	t.throws(() => svg({ ...PLOT, lines: [{ name: "none", points: [{ x: 1, y: 0 }] }] }), /above 0/);
	t.same([0.05, 7, 1000, 2.5e6].map(label), ["0.05", "7", "1,000", "2.5 M"]);
});

t.test("memory: of a process that lives, the most of one that has ended", async (t) => {
	t.ok(anonymousBytes(process.pid) > 1_000_000);
	t.equal(anonymousBytes(2 ** 30), 0);
	const hog = "const held = Buffer.alloc(64 * 2 ** 20, 1); setTimeout(() => console.log(held.length), 300)";
	const { stdout, peak, seconds, cpuSeconds } = await watched([process.execPath, "-e", hog]);
	t.equal(stdout, `${64 * 2 ** 20}\n`);
	t.ok(peak > 64e6 && peak < 1e9, `${peak} bytes`);
	t.ok(seconds >= 0.3);
	t.ok(cpuSeconds > 0 && cpuSeconds < 60, `${cpuSeconds} s`);
	await t.rejects(watched(["sh", "-c", "echo no such thing >&2; exit 3"]), /failed \(3\): no such thing/);
});
