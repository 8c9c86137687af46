/** Instant recovery from the command line: dry run, identity, what runs is served through kill -9, the end. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { processes } from "../e2e/client/processes.js";
import { startUnit } from "../e2e/installed-unit.js";
import { MAC, RecoveryLab, type Report, UUID } from "./lab.js";

await enterNamespace(import.meta.url);

const lab = new RecoveryLab();
t.teardown(() => lab.close());
t.setTimeout(240_000);

t.test("the dry run names what it finds, and does nothing", async (t) => {
	await lab.prepare();
	for (const [args, code, words] of [
		[["recover", "web"], 2, /--host NAME is missing/],
		[["recover", "web", "--host", "nowhere"], 1, /no host nowhere/],
		[["recover", "web", "--host", "lab", "--network", "lan"], 2, /write FROM=TO/],
		[["recover", "web", "--host", "lab", "--isolated", "--replace"], 2, /exclude each other/],
		[["recover", "web", "--host", "lab", "--redirect", "/no/such"], 2, /is not a directory/],
		[["recover", "web", "--host", "lab", "--network", "wan=user"], 1, /no card is in wan: --network takes lan/],
		[["recover", "nobody", "--host", "lab"], 1, /nobody/],
		[["migrate", "none", "--to", "/"], 1, /session none is of no recovery/],
		[["migrate", "none"], 2, /--to STORAGE is missing/],
	] as const) {
		const run = await lab.cli([...args]);
		t.match([run.code, run.stderr], [code, words], args.join(" "));
	}
	const plan = await lab.json<Report & { dryRun: boolean; space: { free: number; memory: number } }>([
		...["recover", "web", "--host", "lab", "--dry-run"],
	]);
	t.match(plan, { dryRun: true, name: "web", identity: "kept", refused: false, space: { memory: 64 * 2 ** 20 } });
	t.ok(plan.space.free > 0);
	const found = plan.findings.map(({ level, what, message }) => `${level} ${what}: ${message}`).join("\n");
	t.match(found, /warning original: whether it still runs is not known.*--original-gone/);
	t.match(found, /ok space: \d+ MiB free/);
	t.strictSame(await lab.host.list(), []);
	t.strictSame(await lab.sessions(), []);
});

let first: Report;
t.test("recovered: it runs and writes, outlives terminal and mount process, and is not there twice", async (t) => {
	first = await lab.recover("--network", "lan=user");
	t.match(first, { name: "web", id: UUID, identity: "kept", connected: true, continued: false });
	t.ok(first.times.powerOn! > 0, `power-on after ${first.times.powerOn} s`);
	t.comment(`from the command to power-on: ${first.times.powerOn} s`);
	await lab.works("web");
	// The command has ended, its terminal with it; now the server dies under the guest.
	const back = await lab.killMountd(first.session);
	t.comment(`the mount process was back after ${back} ms`);
	await lab.works("web");
	// As after a reboot: the supervisor is gone, too. The guest waits until the same command brings the server back.
	for (const name of ["supervisor.js", "main.js"])
		for (const pid of processes(`/mountd/${name}`)) process.kill(pid, "SIGKILL");
	const said = lab.said("web");
	await sleep(500);
	t.ok(lab.said("web").length - said.length < 5, "it stands still");
	await lab.recover();
	await lab.works("web");
	// And until what starts with this machine does.
	for (const name of ["supervisor.js", "main.js"])
		for (const pid of processes(`/mountd/${name}`)) process.kill(pid, "SIGKILL");
	const unit = await startUnit(lab.env());
	t.match([unit.code, JSON.parse(unit.stdout).sessions], [0, [{ session: first.session, error: null }]]);
	await lab.works("web");
	t.equal(await lab.stateOf(UUID), "running");
	t.match(await lab.sessions(), [
		{ session: first.session, recovery: { host: "lab", name: "web", phase: "ready", migratedTo: null } },
	]);
	t.match((await lab.cli(["sessions"])).stdout, /web on lab .*runs as web/);

	const again = await lab.recover();
	t.match(again, { session: first.session, continued: true }, "again: the same one");
	const other = await lab.cli(["recover", "web", "--host", "lab", "--session", "second"]);
	t.match([other.code, other.stderr], [1, /original: web on lab has the same UUID and is running: two of the same/]);
	t.match(other.stderr, /name: web is taken on lab \(the recovery of session .*--name/);
	const isolated = await lab.recover("--session", "second", "--isolated", "--name", "web-2");
	t.match(isolated, { name: "web-2", identity: "new", connected: false });
	t.not(isolated.id, UUID);
	await lab.works("web-2");
	const { nics } = (await lab.host.readConfig("web-2")).config;
	t.match(nics, [{ connected: false, mac: /^52:54:00/ }]);
	t.not(nics[0].mac, MAC);
	const generation = (name: string) => JSON.parse(readFileSync(lab.path("vms", name, "vm.json"), "utf8")).generation;
	t.match(generation("web"), /^[0-9a-f]{8}-/);
	t.not(generation("web"), generation("web-2"), "each has a VM Generation ID of its own");
});

t.test("finish: refused while it runs, asks what happens to the writes, and leaves nothing", async (t) => {
	const running = await lab.cli(["finish", "second", "--discard", "--confirm", "second"]);
	t.match([running.code, running.stderr], [1, /web-2 on lab is running: power it off first/]);
	await lab.host.power("web-2", "off");
	const unsaid = await lab.cli(["finish", "second"]);
	t.match(
		[unsaid.code, unsaid.stderr],
		[2, /session second of .* holds \d+ bytes written, last write .*--keep.*--discard/],
	);
	t.ok(
		(await lab.host.list()).some(({ name }) => name === "web-2"),
		"nothing was done",
	);
	const discarded = await lab.json(["finish", "second", "--discard", "--confirm", "second"]);
	t.match(discarded, { outcome: "trash", name: "web-2", moved: false });
	t.notOk(existsSync(lab.path("vms/web-2")));

	await lab.host.power("web", "off");
	const count = await lab.count((await served(first.session))[0]);
	t.ok(count > 0, `${count} counts, whole and in order`);
	t.match(await lab.json(["finish", first.session, "--keep"]), { outcome: "parked", name: "web" });
	t.strictSame(await lab.host.list(), []);
	const kept = await lab.recover("--session", first.session, "--power-off");
	t.match(kept, { session: first.session, continued: false, times: { powerOn: null } });
	t.equal(await lab.stateOf(UUID), "off");
	t.ok((await lab.count((await served(first.session))[0])) >= count, "with what was written");
	await lab.json(["finish", first.session, "--keep"]);
});

t.test("--redirect: what it writes lies there, and goes with the session", async (t) => {
	mkdirSync(lab.path("fast"));
	const { session } = await lab.recover("--session", "else", "--redirect", lab.path("fast"));
	await lab.works("web");
	t.match(readdirSync(lab.path("fast")), [/^springback-/]);
	await lab.killMountd(session);
	await lab.works("web");
	await lab.host.power("web", "off");
	t.match(await lab.json(["finish", "else", "--discard", "--confirm", "else"]), { outcome: "trash" });
	t.match(readdirSync(lab.path("fast")), [/^springback-/], "in the trash");
});

t.test("--replace: the original is set aside, and comes back", async (t) => {
	const original = await lab.recover("--session", "original", "--power-off");
	// What counts as the original here is a VM that no recovery made.
	const path = lab.path("vms/web/vm.json");
	writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), session: undefined }));
	await lab.host.power(UUID, "on");
	const refused = await lab.cli(["recover", "web", "--host", "lab", "--session", "new"]);
	t.match([refused.code, refused.stderr], [1, /web on lab has the same UUID and is running/]);
	const report = await lab.recover("--session", "new", "--replace");
	t.match(report, { name: "web", id: UUID, replaced: { name: /^web-replaced-\d{4}-/ } });
	await lab.works("web");
	const aside = (await lab.host.list()).find(({ name }) => name === report.replaced!.name);
	t.match(aside, { state: "off", session: null });
	await lab.host.power(UUID, "off");
	await lab.json(["finish", "new", "--discard", "--confirm", "new"]);
	t.match(await lab.host.list(), [{ id: UUID, name: "web", state: "off", session: null }], "it has its name again");
	await lab.host.unregister(UUID);
	await lab.cli(["finish", original.session, "--host-gone", "--keep"]);
});

const served = async (session: string): Promise<string[]> => {
	const { stdout } = await lab.cli(["publish", "web", "--session", session, "--detach"]);
	return (JSON.parse(stdout) as { nbd: { uris: string[] }[] }).nbd.map(({ uris }) => uris[0]);
};
