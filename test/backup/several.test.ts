/** Several VMs by one command: what its file may say, what is shared, who fails, and what an interruption leaves. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { parseVmList } from "../../src/backup/vm-list.js";
import { initRepository, openRepository } from "../../src/repository/index.js";

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const MIB = 2 ** 20;

const scratch = (t: Test): string => {
	const path = mkdtempSync(join(tmpdir(), "springback-several-"));
	t.teardown(() => rmSync(path, { recursive: true, force: true }));
	return path;
};

/** Bytes that do not repeat. */
const content = (seed: number, length: number): Buffer => {
	const bytes = Buffer.alloc(length);
	let state = seed;
	for (let at = 0; at < length; at += 4) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		bytes.writeUInt32LE((state ^ (state >>> 15)) >>> 0, at);
	}
	return bytes;
};

interface Ran {
	code: number | null;
	lines: {
		vm?: string;
		point?: string;
		error?: string;
		disks?: { new: number }[];
		summary?: Record<string, unknown>;
	}[];
	stderr: string;
}

/** `backup` of a VM file; `began`: interrupts once the first VM is done. */
const run = (folder: string, args: string[], interrupt = false): Promise<Ran> =>
	new Promise((resolve) => {
		const where = ["--repo", join(folder, "repo"), "--state", join(folder, "state"), "--quiet"];
		const child = spawn(process.execPath, [MAIN, "backup", ...args, ...where], {
			env: { ...process.env, NODE_OPTIONS: "" },
		});
		let stdout = "";
		let stderr = "";
		child.stdout.setEncoding("utf8").on("data", (text) => {
			stdout += text;
			if (interrupt) child.kill("SIGINT");
			interrupt = false;
		});
		child.stderr.setEncoding("utf8").on("data", (text) => {
			stderr += text;
		});
		child.on("close", (code) => {
			const lines = stdout.startsWith("{") ? stdout.trim().split("\n") : [];
			resolve({ code, lines: lines.map((line) => JSON.parse(line)), stderr });
		});
	});

const pointsOf = async (folder: string): Promise<{ vm: string; tags: string[]; disks: { name: string }[] }[]> => {
	const repository = await openRepository(join(folder, "repo"));
	try {
		t.same((await repository.check({ readData: true })).faults, []);
		return await repository.points();
	} finally {
		await repository.close();
	}
};

t.test("the file", async (t) => {
	const parsed = parseVmList(
		`vms:
  web1: { disks: [web1.raw, data=qcow2:d.img, "nbd://host/x"], config: sub/web1.xml, tags: daily }
  "8": { disks: ./b.raw, since: latest, changes: [disk0=c.json, d.json], compression: "zstd:5" }`,
		"/etc/some/vms.yaml",
	);
	t.match(parsed, [
		{
			vm: "web1",
			disks: ["disk0=raw:/etc/some/web1.raw", "data=qcow2:/etc/some/d.img", "disk2=nbd://host/x"],
			config: "/etc/some/sub/web1.xml",
			tags: ["daily"],
			changes: [],
		},
		{
			vm: "8",
			disks: ["disk0=raw:/etc/some/b.raw"],
			since: "latest",
			changes: ["disk0=/etc/some/c.json", "/etc/some/d.json"],
			compression: "zstd:5",
		},
	]);
	t.equal(parseVmList('{"vms": {"a": {"disks": ["a.raw"]}}}', "/x/vms.json").length, 1, "JSON");
	for (const [text, message] of [
		["", /no VMs/],
		["vms: {}", /no VMs/],
		["vms: [a, b]", /no VMs/],
		["vms: { a: { disks: [a.raw] } }\nother: 1", /"other" means nothing here/],
		["vms: { 8: { disks: [a.raw] } }", /VM 8: its name is not text/],
		["vms: { a: x.raw }", /VM "a": it must have "disks"/],
		["vms: { a: { disk: [a.raw] } }", /VM "a": "disk" means nothing here; use disks/],
		["vms: { a: {} }", /VM "a": no disk given/],
		["vms: { a/b: { disks: [a.raw] } }", /VM "a\/b": .*`\/` separates/],
		["vms: { a: { disks: [a.xyz] } }", /VM "a": a.xyz: the extension/],
		["vms: { a: { disks: [7] } }", /VM "a": "disks" must be a list of texts/],
		["vms: { a: { disks: [a.raw], compression: best } }", /VM "a": compression "best"/],
		["vms: { a: { disks: [a.raw], tags: ['a b'] } }", /VM "a": a tag cannot be/],
		["vms: { a: { disks: [a.raw] }, a: { disks: [b.raw] } }", /vms.yaml: .*unique/],
		["vms: { a: [", /vms.yaml: /],
	] as const)
		t.throws(() => parseVmList(text, "/x/vms.yaml"), { code: "USAGE", message }, text);
});

t.test("several at once share what is common", async (t) => {
	const folder = scratch(t);
	await initRepository(join(folder, "repo"));
	const images = join(folder, "images");
	mkdirSync(images);
	const common = content(1, 6 * MIB);
	for (const n of [1, 2, 3]) writeFileSync(join(images, `${n}.raw`), Buffer.concat([common, content(n + 1, MIB)]));
	writeFileSync(
		join(images, "vms.yaml"),
		"vms:\n  one: { disks: [1.raw], tags: [daily] }\n  two: { disks: [system=2.raw] }\n  three: { disks: [3.raw] }\n",
	);
	const { code, lines, stderr } = await run(folder, [
		...["--vms", join(images, "vms.yaml"), "--parallel", "3", "--tag", "all", "--json"],
	]);
	t.equal(code, 0, stderr);
	t.equal(lines.length, 4);
	t.same(
		lines
			.slice(0, 3)
			.map(({ vm }) => vm)
			.sort(),
		["one", "three", "two"],
	);
	t.match(lines[3].summary, { vms: 3, done: 3, failed: [], size: 21 * MIB, read: 21 * MIB, new: 9 * MIB });
	const points = await pointsOf(folder);
	t.match(
		points.sort((a, b) => (a.vm < b.vm ? -1 : 1)),
		[
			{ vm: "one", tags: ["daily", "all"] },
			{ vm: "three", tags: ["all"] },
			{ vm: "two", disks: [{ name: "system" }] },
		],
	);
	const again = await run(folder, ["--vms", join(images, "vms.yaml")]);
	t.equal(again.code, 0, "and as text");
});

t.test("one that fails takes no other with it", async (t) => {
	const folder = scratch(t);
	await initRepository(join(folder, "repo"));
	writeFileSync(join(folder, "a.raw"), content(1, MIB));
	writeFileSync(join(folder, "vms.yaml"), "vms:\n  bad: { disks: [none.raw] }\n  good: { disks: [a.raw] }\n");
	const { code, lines, stderr } = await run(folder, ["--vms", join(folder, "vms.yaml"), "--json"]);
	t.equal(code, 4);
	t.match(stderr, /^springback: bad: .*none\.raw: no such file/m);
	t.match(
		lines.find(({ vm }) => vm === "bad"),
		{ error: /none\.raw: no such file/ },
	);
	t.match(lines.at(-1)?.summary, { vms: 2, done: 1, failed: ["bad"] });
	t.match(await pointsOf(folder), [{ vm: "good" }]);
	writeFileSync(join(folder, "vms.yaml"), "vms:\n  bad: { disks: [none.raw] }\n  worse: { disks: [nothing.raw] }\n");
	t.equal((await run(folder, ["--vms", join(folder, "vms.yaml")])).code, 1, "all failed");
	for (const [args, what] of [
		[["--vms", join(folder, "none.yaml")], /none\.yaml: no such file/],
		[["--vms", join(folder, "vms.yaml"), "--disk", "a.raw"], /--disk and --vms/],
		[["--vms", join(folder, "vms.yaml"), "--parallel", "0"], /--parallel 0/],
		[["vm", "--vms", join(folder, "vms.yaml")], /"vm": one argument too many/],
		[["vm", "--disk", "a.raw", "--parallel", "2"], /--parallel is for --vms/],
	] as const) {
		const wrong = await run(folder, [...args]);
		t.equal(wrong.code, 2, String(what));
		t.match(wrong.stderr, what);
		t.equal(wrong.stderr.trimEnd().split("\n").length, 1, wrong.stderr);
	}
});

t.test("an interruption leaves the points that are made", { timeout: 60_000 }, async (t) => {
	const folder = scratch(t);
	await initRepository(join(folder, "repo"));
	writeFileSync(join(folder, "small.raw"), content(1, MIB));
	writeFileSync(join(folder, "large.raw"), content(2, 16 * MIB));
	writeFileSync(
		join(folder, "vms.yaml"),
		"vms:\n  first: { disks: [small.raw] }\n  slow: { disks: [large.raw] }\n  never: { disks: [small.raw] }\n",
	);
	const { code, lines } = await run(
		folder,
		["--vms", join(folder, "vms.yaml"), "--parallel", "1", "--read-limit", "4m", "--json"],
		true,
	);
	t.equal(code, 130);
	t.match(lines, [
		{ vm: "first", point: /^[0-9a-f]{32}$/ },
		{ vm: "slow", error: /interrupted/ },
		{ vm: "never", error: "not begun" },
		{ summary: { vms: 3, done: 1, failed: ["slow", "never"] } },
	]);
	t.match(await pointsOf(folder), [{ vm: "first" }]);
});
