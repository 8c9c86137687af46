/** Hosts, plans and runs into repositories and back onto an empty machine. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { faults } from "../../native/index.js";
import { writePlan } from "../../src/catalog/documents.js";
import {
	Catalog,
	catalogPaths,
	noteChanges,
	putHost,
	readHosts,
	restoreSettings,
	saveSettings,
} from "../../src/catalog/index.js";
import { initRepository, SettingsStore } from "../../src/repository/index.js";
import { CHEAP, PASSPHRASE } from "../repository/helpers.js";

interface Machine {
	paths: ReturnType<typeof catalogPaths>;
	catalog: Catalog;
}

const machine = async (t: Test, root: string): Promise<Machine> => {
	const paths = catalogPaths(join(root, "state"), join(root, "config"));
	const catalog = await Catalog.open(paths);
	t.teardown(() => catalog.close());
	return { paths, catalog };
};
const lab = { name: "lab", type: "qemu", uri: "qemu:///srv/vms" };
const plan = "# nightly\nvms: [web1]\n";

/** One machine with a host, a plan and a run, and a repository. */
const setUp = async (t: Test, secret = false) => {
	const root = t.testdir({});
	const repository = join(root, "repository");
	await initRepository(repository, secret ? { ...CHEAP, passphrase: PASSPHRASE.key.passphrase() } : {});
	const one = await machine(t, join(root, "one"));
	await putHost(one.paths, lab, false);
	writePlan(one.paths, "nightly", plan);
	noteChanges(one.paths, one.catalog, "root for alice");
	one.catalog.runs.end(one.catalog.runs.begin("backup", "web1"), "ok", undefined, "r");
	const store = await SettingsStore.open(repository, secret ? PASSPHRASE : {});
	t.teardown(() => store.close());
	return { root, repository, store, one };
};

const isRestored = (t: Test, { paths, catalog }: Machine): void => {
	t.strictSame([...readHosts(paths).values()], [lab]);
	t.equal(readFileSync(join(paths.plans, "nightly.yaml"), "utf8"), plan);
	t.match(catalog.runs.list(), [{ what: "backup", subject: "web1", result: "ok", repository: "r" }]);
	t.match(catalog.documents("host"), [{ name: "lab", by: "root for alice" }]);
};

for (const secret of [false, true])
	t.test(`an empty machine gets everything back${secret ? ", encrypted" : ""}`, async (t) => {
		const { root, store, one } = await setUp(t, secret);
		t.strictSame(await saveSettings(one.paths, one.catalog, store), { written: true, forked: false });
		t.strictSame(await saveSettings(one.paths, one.catalog, store), { written: false, forked: false }, "only changes");

		const paths = catalogPaths(join(root, "two/state"), join(root, "two/config"));
		const result = await restoreSettings(paths, store);
		t.match(result, { hosts: 1, plans: 1, runs: 1, bad: [], setAside: [] });
		const two = await machine(t, join(root, "two"));
		isRestored(t, two);
		await t.resolves(restoreSettings(paths, store), "once more changes nothing");
		t.strictSame(readdirSync(paths.config).sort(), [".lock", "hosts.yaml", "plans"].slice(1), "no copies");

		await putHost(two.paths, { ...lab, name: "new" }, false);
		t.strictSame(await saveSettings(two.paths, two.catalog, store), { written: true, forked: false }, "it goes on");
		t.equal(new Set((await store.names()).map(({ state }) => state)).size, 1, "as the one that it was");
	});

t.test("the machine that was replaced, or a clone, gets an id of its own", async (t) => {
	const { root, store, one } = await setUp(t);
	await saveSettings(one.paths, one.catalog, store);
	await restoreSettings(catalogPaths(join(root, "two/state"), join(root, "two/config")), store);
	const two = await machine(t, join(root, "two"));
	two.catalog.runs.begin("check", "");
	await saveSettings(two.paths, two.catalog, store);
	one.catalog.runs.begin("prune", "");
	t.strictSame(await saveSettings(one.paths, one.catalog, store), { written: true, forked: true });
	t.strictSame(await saveSettings(one.paths, one.catalog, store), { written: false, forked: false });
	two.catalog.runs.begin("check", "");
	t.strictSame(await saveSettings(two.paths, two.catalog, store), { written: true, forked: false });

	const three = catalogPaths(join(root, "three/state"), join(root, "three/config"));
	await t.rejects(restoreSettings(three, store), { code: "AMBIGUOUS", message: /2 servers: choose with --from: / });
	await t.rejects(restoreSettings(three, store, { from: "nowhere" }), {
		code: "NOT_FOUND",
		message: /no settings of nowhere/,
	});
	const from = readFileSync(one.paths.stateId, "utf8").slice(0, 10);
	t.match(await restoreSettings(three, store, { from }), { state: new RegExp(`^${from}`) });
});

t.test("two servers in one repository do not touch each other's", async (t) => {
	const { root, store, one } = await setUp(t);
	const two = await machine(t, join(root, "two"));
	await putHost(two.paths, { ...lab, name: "theirs" }, false);
	for (let n = 0; n < 7; n++) {
		for (const { paths, catalog } of [one, two]) {
			catalog.runs.begin("check", `${n}`);
			await saveSettings(paths, catalog, store);
		}
	}
	for (const [{ paths }, host] of [
		[one, "lab"],
		[two, "theirs"],
	] as const) {
		const target = catalogPaths(join(root, host, "state"), join(root, host, "config"));
		await restoreSettings(target, store, { from: readFileSync(paths.stateId, "utf8").trim() });
		t.strictSame([...readHosts(target).keys()], [host]);
	}
});

t.test("the newest is damaged: the one before is used, and said", async (t) => {
	const { root, repository, store, one } = await setUp(t);
	await saveSettings(one.paths, one.catalog, store);
	one.catalog.runs.begin("check", "");
	await saveSettings(one.paths, one.catalog, store);
	const [newest, older] = await store.names();
	writeFileSync(join(repository, newest.file), "nonsense");
	const paths = catalogPaths(join(root, "two/state"), join(root, "two/config"));
	t.match(await restoreSettings(paths, store), { runs: 1, bad: [{ file: newest.file, why: /damaged/ }] });
	isRestored(t, await machine(t, join(root, "two")));

	writeFileSync(join(repository, older.file), "nonsense");
	const three = catalogPaths(join(root, "three/state"), join(root, "three/config"));
	await t.rejects(restoreSettings(three, store), { code: "DAMAGED", message: /all settings in .* are damaged/ });
	rmSync(join(repository, "settings"), { recursive: true });
	await t.rejects(restoreSettings(three, store), { code: "NOT_FOUND", message: /holds no settings/ });
});

t.test("what is here already is not overwritten by accident", async (t) => {
	const { root, store, one } = await setUp(t);
	await saveSettings(one.paths, one.catalog, store);
	const paths = catalogPaths(join(root, "two/state"), join(root, "two/config"));
	mkdirSync(paths.config, { recursive: true });
	const mine = "hosts:\n  mine:\n    type: qemu\n    uri: qemu:///mine\n";
	writeFileSync(paths.hosts, mine);
	await t.rejects(restoreSettings(paths, store), { code: "NOT_EMPTY", message: /hosts\.yaml is here already/ });
	t.equal(readFileSync(paths.hosts, "utf8"), mine);
	t.strictSame(readdirSync(paths.config), ["hosts.yaml"], "nothing was done by halves");
	const { setAside } = await restoreSettings(paths, store, { overwrite: true });
	t.equal(readFileSync(setAside[0], "utf8"), mine);
	t.strictSame([...readHosts(paths).keys()], ["lab"]);
});

t.test("a hosts file that is broken just now is kept as it is", async (t) => {
	const { root, store, one } = await setUp(t);
	writeFileSync(one.paths.hosts, "hosts: {\n");
	await saveSettings(one.paths, one.catalog, store);
	const paths = catalogPaths(join(root, "two/state"), join(root, "two/config"));
	await restoreSettings(paths, store);
	t.equal(readFileSync(paths.hosts, "utf8"), "hosts: {\n");
});

t.test("each call of a save or a restore fails once: nothing is lost, and the next one is whole", async (t) => {
	const { root, repository, store, one } = await setUp(t);
	await saveSettings(one.paths, one.catalog, store);
	let failed = 0;
	for (let skip = 0; skip < 14; skip++) {
		one.catalog.runs.end(one.catalog.runs.begin("check", `${skip}`), "ok");
		faults.set([{ op: "*", path: root, skip, error: "EIO" }]);
		const error = await saveSettings(one.paths, one.catalog, store).catch((reason: Error) => reason);
		faults.clear();
		if (error instanceof Error) failed += 1;
		t.same(
			(await saveSettings(one.paths, one.catalog, store)).forked,
			false,
			`call ${skip}: it is still the same state`,
		);
		const target = join(root, `after${skip}`);
		await restoreSettings(catalogPaths(join(target, "state"), join(target, "config")), store);
		const { catalog } = await machine(t, target);
		t.equal(catalog.runs.list()[0].subject, `${skip}`);
	}
	t.ok(failed >= 8, `${failed} saves failed`);
	t.strictSame(readdirSync(join(repository, "tmp")).length <= 14, true);

	let restores = 0;
	for (let skip = 0; skip < 30; skip++) {
		const target = join(root, `restore${skip}`);
		const paths = catalogPaths(join(target, "state"), join(target, "config"));
		faults.set([{ op: "*", path: target, skip, error: "EIO" }]);
		const error = await restoreSettings(paths, store).catch((reason: Error) => reason);
		faults.clear();
		if (error instanceof Error) restores += 1;
		await restoreSettings(paths, store);
		const after = await machine(t, target);
		t.equal(readHosts(after.paths).get("lab")?.uri, lab.uri);
		t.equal(after.catalog.runs.list().at(-1)?.subject, "web1");
	}
	t.ok(restores >= 10, `${restores} restores failed`);
});

t.test("killed right behind the put: the object is known to be its own", async (t) => {
	const { store, one } = await setUp(t);
	await saveSettings(one.paths, one.catalog, store);
	one.catalog.runs.begin("check", "");
	const notePut = one.catalog.notePut.bind(one.catalog);
	let notes = 0;
	one.catalog.notePut = (...args) => {
		notes += 1;
		if (notes === 2) throw new Error("killed");
		notePut(...args);
	};
	await t.rejects(saveSettings(one.paths, one.catalog, store), { message: "killed" });
	one.catalog.notePut = notePut;
	t.equal((await store.names()).length, 2, "the object is there, and nobody noted it");
	t.strictSame(await saveSettings(one.paths, one.catalog, store), { written: true, forked: false });
	t.equal((await store.names()).length, 3);
});
