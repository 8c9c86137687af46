/** Hosts, plans and runs from the command line: noted, written into the repository, and back on an empty machine. */
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { writeDisk } from "./content.js";
import { MAIN, Workspace } from "./workspace.js";

const MIB = 2 ** 20;
const HOSTS = "# ours\nhosts:\n  lab:\n    type: qemu\n    uri: qemu:///srv/vms\n";

interface Restored {
	hosts: number;
	plans: number;
	runs: number;
	host: string;
	setAside: string[];
}

const workspace = (t: { teardown(fn: () => unknown): void }): Workspace => {
	const work = new Workspace();
	t.teardown(() => work.close());
	writeDisk(work.path("disk.raw"), 1, 2 * MIB);
	mkdirSync(join(work.state, "config/plans"), { recursive: true });
	writeFileSync(join(work.state, "config/hosts.yaml"), HOSTS);
	writeFileSync(join(work.state, "config/plans/nightly.yaml"), "vms: [web1]\n");
	return work;
};

t.test("an encrypted repository and its key bring everything back", async (t) => {
	const work = workspace(t);
	writeFileSync(work.path("key"), "correct horse\n");
	const key = ["--key-file", work.path("key")];
	const { recoveryKey } = await work.json<{ recoveryKey: string }>(["init", "--encrypt", ...key]);
	await work.json(["backup", "ledger-vm", "--disk", work.path("disk.raw"), ...key]);
	await work.json(["check", ...key]);
	for (const name of readdirSync(join(work.repository, "settings")))
		for (const word of ["ledger-vm", "nightly", "qemu:"])
			if (readFileSync(join(work.repository, "settings", name)).includes(word)) t.fail(`${name} holds ${word}`);

	rmSync(work.state, { recursive: true });
	const none = await work.cli(["rebuild", "--settings"]);
	t.match([none.code, none.stderr], [1, /is encrypted: give --key-file/]);
	rmSync(join(work.repository, "index"), { recursive: true });
	writeFileSync(work.path("recovery"), recoveryKey);
	const restored = await work.json<Restored>(["rebuild", "--settings", "--key-file", work.path("recovery")]);
	t.match(restored, { hosts: 1, plans: 1, runs: 2, setAside: [] }, "also without an index, with the recovery key");
	t.equal(readFileSync(join(work.state, "config/hosts.yaml"), "utf8"), HOSTS);
	t.equal(readFileSync(join(work.state, "config/plans/nightly.yaml"), "utf8"), "vms: [web1]\n");
	const again = await work.cli(["rebuild", "--settings", ...key]);
	t.match([again.code, again.stdout], [0, /: 1 host, 1 plan, 2 runs/]);

	rmSync(join(work.repository, "springback.json"));
	rmSync(join(work.repository, "config"), { recursive: true });
	// A pipe can be read once only.
	const piped = await promisify(execFile)(
		"bash",
		["-c", `exec "$0" "$@" --key-file <(cat "${work.path("key")}")`, process.execPath, MAIN, "rebuild", "--settings"],
		{ env: work.env() },
	).catch((error) => error);
	t.match(piped, { code: 4, stderr: /springback\.json was restored from packs/, stdout: /: 1 host, 1 plan, 2 runs/ });
});

t.test("two servers, one repository: whose settings must be said", async (t) => {
	const work = workspace(t);
	await work.init();
	await work.backup("web1", work.path("disk.raw"));
	await work.json(["backup", "web2", "--disk", work.path("disk.raw"), "--state", work.path("second")]);
	const asked = await work.cli(["rebuild", "--settings", "--state", work.path("third")]);
	t.match([asked.code, asked.stderr], [1, /holds settings of 2 servers: choose with --from: [0-9a-f]{8} /]);
	const own = await work.json<Restored>(["rebuild", "--settings"]);
	t.match(own, { hosts: 1 }, "a machine that still knows who it is takes its own");
	const usage = await work.cli(["rebuild", "--from", "x"]);
	t.match([usage.code, usage.stderr], [2, /--from is for rebuild --settings/]);
	writeFileSync(join(work.state, "config/hosts.yaml"), "hosts: {}\n");
	const differs = await work.cli(["rebuild", "--settings"]);
	t.match([differs.code, differs.stderr], [1, /hosts\.yaml is here already and differs: give --overwrite/]);
	t.match(await work.json<Restored>(["rebuild", "--settings", "--overwrite"]), { setAside: [/hosts\.yaml\.before-/] });
});

t.test("what is noted never stops a command", async (t) => {
	const work = workspace(t);
	await work.init();
	mkdirSync(join(work.state, "catalog.sqlite"));
	const run = await work.cli(["backup", "web1", "--disk", work.path("disk.raw"), "--json"]);
	t.match([run.code, run.stderr], [0, /this run is not noted: .*catalog\.sqlite: cannot be used/]);
	rmSync(join(work.state, "catalog.sqlite"), { recursive: true });

	writeFileSync(join(work.state, "catalog.sqlite"), Buffer.alloc(8192, 7));
	const damaged = await work.cli(["backup", "web1", "--disk", work.path("disk.raw"), "--json"]);
	t.match(
		[damaged.code, damaged.stderr],
		[0, /the catalogue was damaged .* begins anew; the old one is .*catalog\.sqlite\.damaged-/],
	);
	const usage = await work.cli(["backup"]);
	t.equal(usage.code, 2);
	const failed = await work.cli(["backup", "web1", "--disk", work.path("missing.raw")]);
	t.equal(failed.code, 1);

	rmSync(work.path("new"), { recursive: true, force: true });
	const restored = await work.json<Restored>(["rebuild", "--settings", "--state", work.path("new")]);
	t.equal(restored.runs, 2, "one that went well, one that failed, none that was mistyped");
	await work.json(["check"]);
	t.equal(
		(await work.json<Restored>(["rebuild", "--settings", "--from", restored.host, "--state", work.path("newer")])).runs,
		3,
	);
});
