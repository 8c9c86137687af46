/** Hypervisors from the command line: added, tried, listed, removed; what of their VMs is protected; back on a new machine. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { writeDisk } from "./content.js";
import { Workspace } from "./workspace.js";

interface Listed {
	name: string;
	protected: boolean;
	lastPoint?: { id: string } | null;
	disks: { name: string; protected: boolean; why: string | null }[];
}

const ID = "00000000-0000-0000-0000-00000000000";
const vm = (work: Workspace, name: string, id: string, disk: object, more: object = {}) => {
	mkdirSync(work.path("vms", name), { recursive: true });
	const disks = [{ bus: "virtio", controller: 0, unit: 0, name: "disk0", ...more }];
	const config = { version: 1, name, uuid: ID + id, disks };
	writeFileSync(work.path("vms", name, "vm.json"), JSON.stringify({ version: 1, config, disks: { disk0: disk } }));
};

t.test("hosts and their VMs", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	mkdirSync(work.path("vms"));
	const uri = `qemu://${work.path("vms")}`;
	t.match((await work.cli(["hosts"])).stdout, /no hosts: springback hosts add/);

	for (const [args, code, words] of [
		[["hosts", "add", "lab"], 2, /TYPE is missing/],
		[["hosts", "add", "lab", "esx", uri], 2, /type esx: use qemu/],
		[["hosts", "add", "lab", "qemu", "https://x"], 2, /qemu:\/\/\/DIR/],
		[["hosts", "add", "a/b", "qemu", uri], 1, /1 to 64 letters/],
		[["hosts", "add", "lab", "qemu", "qemu:///no/such"], 1, /not saved: mend this first/],
		[["hosts", "frob"], 2, /use add, list, test or remove/],
		[["hosts", "test", "lab"], 1, /no host lab/],
		[["hosts", "remove", "lab"], 1, /no host lab/],
		[["hosts", "list", "--no-test"], 2, /--no-test is for hosts add/],
		[["vms"], 2, /--host NAME is missing/],
		[["vms", "--host", "lab"], 1, /no host lab/],
	] as const) {
		const run = await work.cli([...args]);
		t.match([run.code, run.stderr], [code, words], args.join(" "));
	}

	const added = await work.json<{ saved: boolean; checks: { ok: boolean }[] }>(["hosts", "add", "lab", "qemu", uri]);
	t.ok(added.saved && added.checks.length >= 3 && added.checks.every(({ ok }) => ok));
	t.match((await work.cli(["hosts", "add", "lab", "qemu", uri])).stderr, /known already/);
	t.strictSame(await work.json(["hosts"]), [{ name: "lab", type: "qemu", uri }]);
	t.equal((await work.cli(["hosts", "test", "lab"])).code, 0);
	t.match((await work.cli(["vms", "--host", "lab"])).stdout, /no VMs on lab/);

	writeDisk(work.path("web.raw"), 1, 2 ** 20);
	vm(work, "web", "1", { source: work.path("web.raw"), format: "raw" });
	const point = (await work.backup("web", work.path("web.raw"))).point;
	const good = await work.cli(["vms", "--host", "lab", "--json"]);
	t.equal(good.code, 0);
	t.match(JSON.parse(good.stdout) as Listed[], [
		{ name: "web", state: "off", protected: true, lastPoint: { id: point } },
	]);
	vm(work, "solo", "2", { source: work.path("web.raw"), format: "raw" }, { unprotected: "independent" });
	mkdirSync(work.path("vms/bad"));
	writeFileSync(work.path("vms/bad/vm.json"), "{");
	const listed = await work.cli(["vms", "--host", "lab"]);
	t.equal(listed.code, 4, "warnings");
	t.match(listed.stdout, /bad +NOT PROTECTED: .*vm\.json: is not JSON/);
	t.match(listed.stdout, /solo +off .*1 disk, no restore point\n +disk0 +1\.00 MiB +NOT PROTECTED +.*independent/);
	t.match(listed.stdout, /web +off .*, last \d{4}-/);
	t.notMatch((await work.cli(["vms", "--host", "lab"], { SPRINGBACK_REPO: "" })).stdout, /restore point|last/);

	await work.json(["hosts", "add", "second", "qemu", uri]);
	const before = readFileSync(join(work.state, "config/hosts.yaml"), "utf8");
	rmSync(work.state, { recursive: true });
	t.match(await work.json(["rebuild", "--settings"]), { hosts: 2 }, "written into the repository at once");
	t.equal(readFileSync(join(work.state, "config/hosts.yaml"), "utf8"), before);
	t.match((await work.cli(["hosts", "remove", "second"])).stdout, /is removed/);
	t.strictSame(
		((await work.json(["hosts"])) as { name: string }[]).map(({ name }) => name),
		["lab"],
	);
	t.match(await work.json(["rebuild", "--settings", "--state", work.path("new")]), { hosts: 1 });
});

t.test("an encrypted repository whose key is not given: the next backup writes", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	writeFileSync(work.path("key"), "correct horse\n");
	await work.json(["init", "--encrypt", "--key-file", work.path("key")]);
	mkdirSync(work.path("vms"));
	const added = await work.cli(["hosts", "add", "lab", "qemu", `qemu://${work.path("vms")}`]);
	t.match([added.code, added.stderr], [0, /not noted in the repository yet, the next backup does it: .* is encrypted/]);
	writeDisk(work.path("web.raw"), 1, 2 ** 20);
	await work.json(["backup", "web", "--disk", work.path("web.raw"), "--key-file", work.path("key")]);
	const state = ["--state", work.path("new"), "--key-file", work.path("key")];
	t.match(await work.json(["rebuild", "--settings", ...state]), { hosts: 1, runs: 1 });
});
