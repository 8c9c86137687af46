/** From what was seen to what is wrong. */
import t from "tap";
import { diagnose, type Evidence } from "../../src/verify/diagnose.js";
import type { TestReport } from "../../src/verify/model.js";

const KERNEL = "[    0.000000] Linux version 6.1\n";
const sector = (signed: boolean): Buffer => {
	const bytes = Buffer.alloc(512);
	if (signed) bytes.writeUInt16LE(0xaa55, 510);
	return bytes;
};
const at = (...whats: string[]) => whats.map((what) => ({ what, atMs: 0, tookMs: null, detail: null }));
const test = (kind: string, result: TestReport["result"], more: Partial<TestReport> = {}): TestReport => ({
	...{ kind, name: kind, result, message: "said no", output: "", attempts: 1, startedMs: 0, tookMs: 0, value: null },
	...more,
});

/** A guest that is up, and of which a test has failed. */
const up: Evidence = {
	...{
		broken: undefined,
		stable: { stable: true, message: "it has the address 10.0.0.2" },
		console: `${KERNEL}web login: `,
	},
	...{ timeline: at("power-on", "boot-loader", "kernel", "address", "stable"), tests: [test("http", "failed")] },
	...{ blocks: { blocks: 1, bytes: 1, damaged: [] }, bootSector: sector(true), firmware: "bios", failedReads: 0 },
};
/** One that never came up. */
const dark: Evidence = {
	...up,
	...{
		stable: { stable: false, message: "it had no address within 60 s" },
		console: "",
		timeline: at("power-on"),
		tests: [],
	},
};

const TABLE: [what: string, seen: Evidence, fault: string | undefined, summary?: RegExp][] = [
	["all is well", { ...up, tests: [test("http", "passed")] }, undefined],
	["a warning", { ...up, tests: [test("http", "warning")] }, undefined],
	["a test was left out", { ...up, tests: [test("http", "skipped")] }, undefined],
	["its own time was over before anything was known", { ...dark, stable: undefined }, undefined],
	["a service", up, "service", /^http: said no$/],
	["two", { ...up, tests: [...up.tests, test("tcp", "failed")] }, "service", /^http: said no \(and 1 more\)$/],
	["this machine", { ...up, tests: [test("http", "failed", { fault: "infrastructure" })] }, "infrastructure", /http/],
	["we failed", { ...up, broken: "QEMU does not start" }, "infrastructure", /^QEMU does not start$/],
	[
		"blocks",
		{ ...up, blocks: { blocks: 9, bytes: 9, damaged: ["disk0 at 0", "disk0 at 1"] } },
		"damaged-data",
		/^2 damaged blocks.*disk0 at 0/,
	],
	[
		"blocks count more than what we failed at",
		{ ...up, broken: "x", blocks: { blocks: 9, bytes: 9, damaged: ["d"] } },
		"damaged-data",
	],
	["blocks, though it works", { ...up, tests: [], blocks: { blocks: 9, bytes: 9, damaged: ["d"] } }, "damaged-data"],
	["reads failed, nobody knows of damage", { ...dark, failedReads: 3 }, "damaged-data", /3 reads of its disks failed/],
	[
		"the console tells",
		{ ...up, console: `${KERNEL}EXT4-fs error (device vda1): bad` },
		"file-system",
		/EXT4-fs error/,
	],
	[
		"a test tells",
		{ ...up, tests: [test("boot", "failed", { fault: "file-system", message: "bad" })] },
		"file-system",
		/^boot: bad$/,
	],
	["a panic", { ...dark, console: `${KERNEL}Kernel panic - not syncing: no init` }, "hang", /panic/],
	["no boot sector", { ...dark, bootSector: sector(false) }, "no-boot", /first sector .* no boot sector/],
	["a boot sector that does nothing", dark, "no-boot", /nothing beyond the first sector/],
	[
		"UEFI needs no boot sector",
		{ ...dark, bootSector: sector(false), firmware: "uefi", timeline: at("boot-loader") },
		"hang",
	],
	["the boot sector could not be read", { ...dark, bootSector: undefined }, "no-boot", /nothing beyond/],
	[
		"a boot loader, and no kernel",
		{ ...dark, timeline: at("boot-loader") },
		"hang",
		/began to boot.*no address within 60 s/,
	],
	["a kernel that stops", { ...dark, console: `${KERNEL}waiting…` }, "hang", /console ends with "waiting…"/],
	[
		"it came to rest without life",
		{
			...dark,
			stable: { stable: true, message: "quiet" },
			timeline: at("boot-loader"),
			tests: [test("http", "failed")],
		},
		"hang",
	],
	[
		"a port that answers is life",
		{
			...dark,
			timeline: at("boot-loader"),
			stable: { stable: true, message: "quiet" },
			tests: [test("tcp", "passed"), test("http", "failed")],
		},
		"service",
	],
	[
		"a picture at rest is none",
		{ ...dark, timeline: at("boot-loader"), tests: [test("boot", "passed"), test("http", "failed")] },
		"hang",
	],
	[
		"a login is life",
		{ ...dark, console: `${KERNEL}web login: `, stable: { stable: false, message: "its agent did not answer" } },
		"hang",
		/^its agent did not answer$/,
	],
];

for (const [what, seen, fault, summary] of TABLE)
	t.test(what, async (t) => {
		const found = diagnose(seen);
		t.equal(found?.fault, fault, found?.summary ?? "nothing");
		if (summary) t.match(found?.summary, summary);
	});
