/** The catalogue's file: made, migrated, found damaged, shared between processes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { Catalog, catalogPaths } from "../../src/catalog/index.js";
import { MIGRATIONS, migrate } from "../../src/catalog/migrations.js";
import { openFile } from "../../src/catalog/sqlite.js";

const pathsOf = (t: Test) => {
	const root = t.testdir({});
	return catalogPaths(join(root, "state"), join(root, "config"));
};

t.test("runs are kept with result, time and person, newest first", async (t) => {
	const paths = pathsOf(t);
	let clock = Date.UTC(2026, 10, 21, 1, 2, 3);
	const catalog = await Catalog.open(paths, () => new Date(clock));
	const first = catalog.runs.begin("backup", "web1");
	clock += 61_500;
	catalog.runs.end(first, "warnings", "the clock was set back", "a".repeat(32));
	const second = catalog.runs.begin("check", "");
	catalog.close();

	const again = await Catalog.open(paths);
	t.match(again.runs.list(), [
		{ id: second, what: "check", result: "running", ended: null },
		{
			id: first,
			what: "backup",
			subject: "web1",
			started: "2026-11-21T01:02:03.000Z",
			ended: "2026-11-21T01:03:04.500Z",
			result: "warnings",
			message: "the clock was set back",
			repository: "a".repeat(32),
		},
	]);
	t.equal(again.runs.list(1).length, 1);
	again.runs.cancel(second);
	t.equal(again.runs.list().length, 1);
	again.close();
	t.equal(statSync(paths.database).mode & 0o777, 0o600, "nobody else can read it");
	t.equal(statSync(paths.state).mode & 0o777, 0o700);
});

t.test("a run whose process was killed is marked so", async (t) => {
	const paths = pathsOf(t);
	const room = fileURLToPath(new URL("../../src/catalog/index.js", import.meta.url));
	const script = `const { Catalog, catalogPaths } = await import(${JSON.stringify(room)});
		const catalog = await Catalog.open(catalogPaths(...${JSON.stringify([paths.state, paths.config])}));
		catalog.runs.begin("backup", "db1"); console.log("begun"); setInterval(() => {}, 1000);`;
	const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
		env: { ...process.env, NODE_OPTIONS: "" },
	});
	await once(child.stdout, "data");
	const catalog = await Catalog.open(paths);
	t.match(catalog.runs.list(), [{ subject: "db1", result: "running" }], "as long as it lives");
	child.kill("SIGKILL");
	await once(child, "exit");
	t.match(catalog.runs.list(), [{ subject: "db1", result: "killed" }]);
	catalog.close();
});

t.test("a damaged catalogue is set aside, whatever is damaged in it", async (t) => {
	const damages: [string, (bytes: Buffer) => Buffer][] = [
		["not a database", () => Buffer.alloc(9000, 7)],
		["cut short", (bytes) => bytes.subarray(0, 6000)],
		[
			"a page of the schema",
			(bytes) => Buffer.concat([bytes.subarray(0, 100), Buffer.alloc(3000, 0xa5), bytes.subarray(3100)]),
		],
		[
			"a page of a table",
			(bytes) => Buffer.concat([bytes.subarray(0, 4096), Buffer.alloc(4096, 0x5a), bytes.subarray(8192)]),
		],
	];
	for (const [what, damage] of damages) {
		const root = t.testdir({});
		const paths = catalogPaths(join(root, "state"), join(root, "config"));
		const before = await Catalog.open(paths);
		for (let n = 0; n < 200; n++) before.runs.end(before.runs.begin("backup", `vm${n}`), "ok");
		before.close();
		const damaged = damage(readFileSync(paths.database));
		writeFileSync(paths.database, damaged);

		const catalog = await Catalog.open(paths, () => new Date("2026-11-21T01:02:03Z"));
		t.match(catalog.setAside, { path: /catalog\.sqlite\.damaged-2026-11-21T010203/, why: /./ }, what);
		t.ok(readFileSync(catalog.setAside!.path).equals(damaged), "and kept as it was");
		t.strictSame(catalog.runs.list(), []);
		catalog.runs.begin("backup", "goes on");
		catalog.close();
		const again = await Catalog.open(paths);
		t.equal(again.setAside, undefined, "once");
		t.equal(again.runs.list().length, 1);
		again.close();
	}
});

t.test("a file that cannot be read is an error, not damage", async (t) => {
	const paths = pathsOf(t);
	mkdirSync(paths.database, { recursive: true });
	await t.rejects(Catalog.open(paths), { code: "IO", message: /catalog\.sqlite: cannot be used .*unable to open/ });
	t.strictSame(readdirSync(paths.state), ["catalog.sqlite"]);
});

t.test("migrations: each once and whole, and a newer catalogue is refused", async (t) => {
	const path = join(t.testdir({}), "db");
	const steps = [
		"CREATE TABLE one (n INTEGER); INSERT INTO one VALUES (1)",
		"ALTER TABLE one ADD COLUMN m TEXT DEFAULT 'new'",
	];
	const db = openFile(path);
	migrate(db, path, steps.slice(0, 1));
	migrate(db, path, steps);
	migrate(db, path, steps);
	t.strictSame({ ...db.prepare("SELECT * FROM one").get() }, { n: 1, m: "new" });
	t.throws(() => migrate(db, path, [...steps, "CREATE TABLE two (n INTEGER); BROKEN"]), /syntax error/);
	t.strictSame(
		db.prepare("SELECT name FROM sqlite_master WHERE name = 'two'").all(),
		[],
		"a step that fails leaves nothing",
	);
	t.equal(db.prepare("PRAGMA user_version").get()!.user_version, 2);
	t.throws(() => migrate(db, path, steps.slice(0, 1)), { code: "NEWER_FORMAT", message: /install that one/ });
	db.close();
});

t.test("a catalogue of version 1, as released, is still read", async (t) => {
	const paths = pathsOf(t);
	mkdirSync(paths.state);
	const db = openFile(paths.database);
	db.exec(MIGRATIONS[0]);
	db.exec(`INSERT INTO runs (id, what, subject, started, ended, result, "by", host)
		VALUES ('00112233445566778899aabbccddeeff', 'backup', 'old', 1000, 2000, 'ok', 'root', 'there'); PRAGMA user_version = 1`);
	db.close();
	const catalog = await Catalog.open(paths);
	t.match(catalog.runs.list(), [{ subject: "old", started: "1970-01-01T00:00:01.000Z", by: "root", host: "there" }]);
	catalog.close();
});

t.test("eight processes write at once", async (t) => {
	const paths = pathsOf(t);
	const room = fileURLToPath(new URL("../../src/catalog/index.js", import.meta.url));
	const script = `const { Catalog, catalogPaths } = await import(${JSON.stringify(room)});
		const catalog = await Catalog.open(catalogPaths(...${JSON.stringify([paths.state, paths.config])}));
		for (let n = 0; n < 25; n++) catalog.runs.end(catalog.runs.begin("backup", "vm"), "ok");
		catalog.close();`;
	const codes = await Promise.all(
		Array.from({ length: 8 }, async () => {
			const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
				env: { ...process.env, NODE_OPTIONS: "" },
				stdio: "inherit",
			});
			return (await once(child, "exit"))[0];
		}),
	);
	t.strictSame(codes, Array(8).fill(0));
	const catalog = await Catalog.open(paths);
	t.equal(catalog.runs.list().filter(({ result }) => result === "ok").length, 200);
	catalog.close();
});

t.test("documents: what changed, when and by whom", async (t) => {
	let clock = 0;
	const catalog = await Catalog.open(pathsOf(t), () => new Date(clock));
	catalog.noteDocuments(
		"host",
		new Map([
			["a", "1"],
			["b", "1"],
		]),
		"root",
	);
	clock = 1000;
	catalog.noteDocuments(
		"host",
		new Map([
			["b", "1"],
			["c", "2"],
		]),
		null,
	);
	t.strictSame(
		catalog.documents("host").map((note) => ({ ...note })),
		[
			{ kind: "host", name: "b", content: "1", changed: "1970-01-01T00:00:00.000Z", by: "root" },
			{ kind: "host", name: "c", content: "2", changed: "1970-01-01T00:00:01.000Z", by: null },
		],
	);
	t.strictSame(catalog.documents("plan"), []);
	catalog.close();
});
