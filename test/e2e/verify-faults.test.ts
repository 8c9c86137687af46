/**
 * What can be wrong with a restore point, on real guests: each fails with a report that tells which it is. A good one, and
 * another with the same addresses beside it, pass. In one run, over a real lab.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { breakBootSector, breakRoot, type SmallContent, smallDisk, smallDomain } from "../../scripts/lab/small.js";
import { ownMachine } from "../lab/wire.js";
import { filesOf, recordsOf } from "../repository/damage-lab.js";
import { type Document, hashOf, VerifyLab } from "./verify-lab.js";

await enterNamespace(import.meta.url);
t.setTimeout(400_000);
const runs = ownMachine();
const lab = new VerifyLab();
t.teardown(async () => {
	await lab.close();
	rmSync(runs, { recursive: true, force: true });
});

const ADDRESS = "192.168.7.20";
const MAC = "52:54:00:5b:5b:01";

/** Patience is for guests under emulation that share two processors with others. */
const http = "{http: {port: 80, text: It works}, timeout: 5s, retries: 1, pause: 1s}";
const PLAN = `version: 1
name: faults
limits: {parallel: 3}
defaults: {timeout: 4m}
groups:
  first:
    networks: {lan: {gateway: 192.168.7.1/24}}
    vms: {good: {addresses: {"${MAC}": ${ADDRESS}}, tests: [boot, ping, {tcp: 80}, ${http}, checksum]}}
  second:
    networks: {lan: {gateway: 192.168.7.1/24}}
    vms: {twin: {addresses: {"${MAC}": ${ADDRESS}}, tests: [${http}]}}
vms:
  hang: {tests: [${http}]}
  no-boot: {stabilise: {by: address, timeout: 15s}, tests: [${http}]}
  corrupt: {tests: [${http}]}
  service: {tests: [${http}]}
  damaged: {stabilise: {by: address, timeout: 30s}, tests: [${http}]}
`;

const point = async (vm: string, number: number, content: SmallContent = {}, change?: (disk: string) => void) => {
	const disk = lab.path(`${vm}.raw`);
	smallDisk(disk, content);
	change?.(disk);
	return lab.point(vm, disk, smallDomain(vm, number));
};

/** All that only this backup has stored. */
const damageWhatIsNew = (before: string[]): void => {
	for (const name of filesOf(lab.repository, "packs").filter((one) => !before.includes(one))) {
		const path = join(lab.repository, name);
		const bytes = readFileSync(path);
		if (bytes[8] !== 1) continue;
		for (const { at, length } of recordsOf(lab.repository, name)) bytes[at + 56 + ((length - 56) >> 1)] ^= 0xff;
		writeFileSync(path, bytes);
	}
};

let seen: { document: Document; of: (vm: string) => Document["vms"][number] };

t.before(async () => {
	await lab.init();
	await point("good", 1);
	// A copy of the same machine: same MAC, same address.
	await point("twin", 1);
	await point("hang", 3, { boot: "while true; do sleep 1; done" });
	await point("no-boot", 4, {}, breakBootSector);
	await point("corrupt", 5, {}, breakRoot);
	await point("service", 6, { service: "exit 1" });
	const before = filesOf(lab.repository, "packs");
	await point("damaged", 7, { boot: "# of this machine alone" });
	damageWhatIsNew(before);
});

t.test("one run over all of them", async (t) => {
	const nothing = await lab.left(runs);
	const sources = ["good", "hang", "no-boot"].map((vm) => hashOf(lab.path(`${vm}.raw`)));
	const stored = lab.stored();
	const { run, document, of } = await lab.verify(PLAN);
	seen = { document, of };
	t.equal(run.code, 3, run.stderr);
	t.match(document, { result: "failed", labMode: "namespace", report: { html: /\.html$/, json: /\.json$/ } });
	const found = Object.fromEntries(document.vms.map(({ vm, result, fault }) => [vm, fault ?? result]));
	t.strictSame(
		found,
		{
			...{ good: "passed", twin: "passed", hang: "hang", "no-boot": "no-boot", corrupt: "file-system" },
			...{ service: "service", damaged: "damaged-data" },
		},
		JSON.stringify(document, null, "\t"),
	);
	t.strictSame(await lab.left(runs), nothing, "nothing is left");
	t.strictSame(lab.stored(), stored, "no restore point was touched");
	t.strictSame(
		["good", "hang", "no-boot"].map((vm) => hashOf(lab.path(`${vm}.raw`))),
		sources,
	);
});

t.test("each summary says which it is", async (t) => {
	const said = (vm: string) => seen.of(vm).summary;
	t.match(said("good"), /^boots, and passed all 5 tests$/);
	t.match(said("hang"), /began to boot and shows no sign of life .*console ends with/);
	t.match(said("no-boot"), /first sector of its first disk is no boot sector/);
	t.match(said("corrupt"), /corrupt file system.*EXT4-fs/);
	t.match(said("service"), /port 80 refuses connections/);
	t.match(said("damaged"), /damaged blocks in the restore point: disk0 at \d+/);
});

t.test("the evidence of the good one", async (t) => {
	const good = seen.of("good");
	t.strictSame(
		good.tests.map(({ kind, result }) => [kind, result]),
		[["ping"], ["tcp"], ["http"], ["boot"], ["checksum"]].map(([kind]) => [kind, "passed"]),
	);
	const whats = good.timeline.map(({ what }) => what);
	const order = [
		"publish",
		"register",
		"power-on",
		"first-read",
		"boot-loader",
		"kernel",
		"address",
		"stable",
		"power-off",
	];
	t.strictSame(
		whats.filter((what) => order.includes(what)),
		order,
	);
	for (const { name } of good.tests) t.ok(whats.includes(`test:${name}`), name);
	t.strictSame(good.addresses, [ADDRESS]);
	t.strictSame(seen.of("twin").addresses, [ADDRESS], "the other lab has the same address");
	// Kernel and initramfs at least, and never more than the disk and what is read twice.
	t.ok(good.readToBoot! > 16e6 && good.readToBoot! <= good.readInAll! && good.readInAll! < 64e6, `${good.readToBoot}`);
	t.ok(good.console > 1000 && good.screenshots === 2);
	t.ok(good.timeToServiceMs! > 0);
	t.match(good.generationId, /^[0-9a-f]{8}-[0-9a-f-]{27}$/);
	t.not(good.generationId, seen.of("twin").generationId);
	for (const { disks } of seen.document.vms)
		for (const { identityBefore, identityAfter } of disks) t.equal(identityAfter, identityBefore);
	t.notOk(seen.of("no-boot").timeline.some(({ what }) => what === "boot-loader" || what === "address"));
	t.notOk(seen.of("hang").timeline.some(({ what }) => what === "address"));
	for (const vm of ["hang", "no-boot", "corrupt", "service"])
		t.ok(seen.of(vm).screenshots >= 1, `${vm}: a picture of the failure`);
});
