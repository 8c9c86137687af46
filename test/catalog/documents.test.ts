/** Hosts and plans as files that people edit. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { faults } from "../../native/index.js";
import { readPlans, writePlan } from "../../src/catalog/documents.js";
import { catalogPaths, findHost, putHost, readHosts, removeHost } from "../../src/catalog/index.js";

const pathsOf = (t: Test) => {
	const root = t.testdir({});
	return catalogPaths(join(root, "state"), join(root, "config"));
};
const lab = { name: "lab", type: "qemu", uri: "qemu:///srv/vms" };

t.test("a host is written, found, replaced and removed", async (t) => {
	const paths = pathsOf(t);
	t.equal(readHosts(paths).size, 0, "no file is no host");
	await putHost(paths, lab, false);
	t.strictSame(findHost(paths, "lab"), lab);
	await t.rejects(putHost(paths, lab, false), { code: "EXISTS", message: /known already/ });
	await putHost(paths, { ...lab, uri: "qemu:///mnt" }, true);
	t.equal(findHost(paths, "lab").uri, "qemu:///mnt");
	await putHost(paths, { ...lab, name: "other" }, false);
	await removeHost(paths, "lab");
	t.throws(() => findHost(paths, "lab"), { code: "NOT_FOUND", message: /there is other/ });
	await t.rejects(removeHost(paths, "lab"), { code: "NOT_FOUND" });
	await removeHost(paths, "other");
	t.throws(() => findHost(paths, "lab"), { message: /springback hosts add/ });
});

t.test("comments and members that people wrote stay", async (t) => {
	const paths = pathsOf(t);
	mkdirSync(paths.config);
	writeFileSync(
		paths.hosts,
		"# ours\nhosts:\n  old: # the first\n    type: qemu\n    uri: qemu:///a\n    user: backup\n    password: { file: /etc/secret }\n",
	);
	await putHost(paths, lab, false);
	const text = readFileSync(paths.hosts, "utf8");
	for (const part of ["# ours", "# the first", "user: backup", "/etc/secret", "lab:"]) t.match(text, part);
	t.strictSame([...readHosts(paths).keys()], ["old", "lab"]);
});

t.test("secrets and nonsense are refused by name", async (t) => {
	const paths = pathsOf(t);
	mkdirSync(paths.config);
	const host = (more: string) => `hosts:\n  lab:\n    type: qemu\n    uri: qemu:///a\n${more}`;
	for (const [text, words] of [
		[host("    password: hunter2\n"), /never the password itself/],
		[host("    password: { file: a, env: B }\n"), /never the password itself/],
		[host("    pasword: { file: a }\n"), /"pasword", which means nothing/],
		["hosts:\n  lab:\n    type: qemu\n", /must have "type" and "uri"/],
		["hosts:\n  lab:\n    type: vsphere\n    uri: https://root:secret@esx1/\n", /URI holds a password/],
		["hosts: [1, 2]\n", /mapping of names/],
		["hosts:\n  a/b:\n    type: qemu\n    uri: x\n", /1 to 64 letters/],
		["- 1\n", /must be a mapping/],
		["hosts: {\n", /hosts\.yaml: .*correct the file/],
	] as const) {
		writeFileSync(paths.hosts, text);
		t.throws(() => readHosts(paths), { name: "CatalogError", message: words });
		await t.rejects(putHost(paths, { ...lab, name: "new" }, false), { message: words });
		t.equal(readFileSync(paths.hosts, "utf8"), text, "the file is left as it is");
	}
	writeFileSync(paths.hosts, "");
	await t.rejects(putHost(paths, { ...lab, uri: "qemu://me:word@there/" }, false), { message: /holds a password/ });
	await t.rejects(putHost(paths, { ...lab, name: "../x" }, false), { code: "INVALID" });
});

t.test("a write that fails leaves the old file", async (t) => {
	const paths = pathsOf(t);
	await putHost(paths, lab, false);
	const before = readFileSync(paths.hosts, "utf8");
	for (const op of ["pwrite", "fsync", "rename"] as const) {
		faults.set([{ op, path: "hosts.yaml", error: "ENOSPC" }]);
		await t.rejects(putHost(paths, { ...lab, name: "new" }, false), { code: "ENOSPC" }, op);
		faults.clear();
		t.equal(readFileSync(paths.hosts, "utf8"), before);
	}
});

t.test("twenty changes at once are all there", async (t) => {
	const paths = pathsOf(t);
	await Promise.all(Array.from({ length: 20 }, (_, n) => putHost(paths, { ...lab, name: `h${n}` }, false)));
	t.equal(readHosts(paths).size, 20);
});

t.test("plans are texts", (t) => {
	const paths = pathsOf(t);
	t.equal(readPlans(paths).size, 0);
	writePlan(paths, "nightly", "# all\nvms: [web1]\n");
	t.throws(() => writePlan(paths, "a/b", "vms: []\n"), { code: "INVALID" });
	t.strictSame([...readPlans(paths)], [["nightly", "# all\nvms: [web1]\n"]]);
	t.end();
});
