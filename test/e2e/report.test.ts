/** `springback report`: reports of a real repository listed, shown, verified; changed and removed ones found. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Catalog, catalogPaths } from "../../src/catalog/index.js";
import { loadSigner, reportsFolder, signerPaths, writeReport } from "../../src/verify/evidence/index.js";
import type { RunReport } from "../../src/verify/model.js";
import { run, vm } from "../verify/evidence/sample.js";
import { writeDisk } from "./content.js";
import { Workspace } from "./workspace.js";

const write = async (work: Workspace, report: RunReport) => {
	const catalog = await Catalog.open(catalogPaths(work.state, join(work.state, "config")));
	try {
		return await writeReport(report, reportsFolder(work.repository, work.state), await loadSigner(work.state), catalog);
	} finally {
		catalog.close();
	}
};
const at = (minute: number) => ({
	started: `2026-11-21T01:0${minute}:00.000Z`,
	ended: `2026-11-21T01:0${minute}:30.000Z`,
});

t.test("reports from the command line", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	writeDisk(work.path("web.raw"), 1, 2 ** 20);
	await work.backup("web1", work.path("web.raw"));
	t.match((await work.cli(["report"])).stdout, /no reports: springback verify makes them/);
	t.match(await work.cli(["report", "verify"]), { code: 0, stdout: /no reports/ });
	t.match(await work.cli(["report", "show"]), { code: 1, stderr: /there are no reports/ });
	t.match(await work.cli(["report", "frob"]), { code: 2, stderr: /use list, show or verify/ });
	t.match(await work.cli(["report", "list", "--junit"]), { code: 2, stderr: /--junit is for report show/ });

	const first = await write(work, run([vm("web1")], at(1)));
	const second = await write(work, run([vm("db1", "failed", "hang")], at(2)));
	const listed = await work.json<{ run: string; vms: { vm: string }[] }[]>(["report", "list"]);
	t.strictSame(
		listed.map(({ vms }) => vms[0].vm),
		["web1", "db1"],
		"newest last",
	);
	t.equal((await work.json<object[]>(["report", "list", "--vm", "web1"])).length, 1);
	t.match((await work.cli(["report", "list"])).stdout, /RUN .*\n.*passed +1 +1\n.*failed +0 +1 +db1 \(hang\)/);

	t.match((await work.cli(["report", "show"])).stdout, /^Failed: 1 of 1 restore point failed\n[\s\S]*FAILED {2}db1/);
	t.match(await work.json(["report", "show", listed[0].run.slice(0, 8)]), { id: listed[0].run, result: "passed" });
	t.match((await work.cli(["report", "show", first.html, "--junit"])).stdout, /<testsuite name="web1"/);
	t.equal((await work.cli(["report", "show", "latest", "--html"])).stdout.trim(), second.html);
	t.match(await work.cli(["report", "show", "nothing"]), { code: 1, stderr: /there is no report nothing/ });

	const all = await work.cli(["report", "verify"]);
	t.match(all, { code: 0, stdout: /^(ok {4}.*: signed by this server \([0-9a-f]{16}…\)\n){4}$/ });
	const check = await work.cli(["check", "--read-data"]);
	t.match([check.code, check.stdout + check.stderr], [0, /^(?![\s\S]*reports)/], "check does not mind the folder");
	await work.json(["prune"]);
	t.equal(readdirSync(join(work.repository, "reports")).length, 4, "nor does prune");

	const elsewhere = { SPRINGBACK_STATE: work.path("elsewhere") };
	t.match(await work.cli(["report", "verify"], elsewhere), {
		code: 3,
		stdout: /FAIL .*signed by a key that is not known/,
	});
	const key = signerPaths(work.state).public;
	t.match(await work.cli(["report", "verify", "--key", key], elsewhere), { code: 0, stdout: /signed by a given key/ });
	t.match(await work.cli(["report", "verify", "--key", work.path("web.raw")], elsewhere), {
		code: 1,
		stderr: /holds no Ed25519 public key/,
	});
	t.equal((await work.cli(["report", "list", "--json"], elsewhere)).stdout.match(/"run"/g)?.length, 2);

	const good = readFileSync(first.json);
	writeFileSync(first.json, good.toString().replace('"result":"passed"', '"result":"warning"'));
	const changed = await work.cli(["report", "verify", "--json"]);
	t.equal(changed.code, 3);
	t.match(JSON.parse(changed.stdout), { ok: false, missing: [] });
	t.match((await work.cli(["report", "verify", first.json])).stdout, /FAIL .*it was changed after it was signed/);
	t.match(await work.cli(["report", "show", first.json]), { code: 1, stderr: /no sound report/ });
	t.equal((await work.cli(["report", "verify", second.json, second.html])).code, 0);
	rmSync(first.json);
	t.match(await work.cli(["report", "verify"]), { code: 3, stdout: /^GONE {2}run [0-9a-f]{32} of 2026-11-21/m });
	writeFileSync(first.json, good);

	rmSync(join(work.repository, "reports"), { recursive: true });
	t.match(await work.cli(["report", "verify"]), { code: 3, stdout: /^(GONE .*\n){2}$/ }, "all of them");
});

t.test("an encrypted repository has no report in the clear", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	writeFileSync(work.path("key"), "correct horse");
	await work.json(["init", "--encrypt", "--key-file", work.path("key")]);
	const { json } = await write(work, run([vm("web1")], at(1)));
	t.equal(json.startsWith(join(work.state, "reports", "/")), true);
	t.notOk(readdirSync(work.repository).includes("reports"));
	t.equal((await work.json<object[]>(["report", "list"])).length, 1);
	t.equal((await work.cli(["report", "verify"])).code, 0);
	mkdirSync(work.path("moved"));
	renameSync(json, work.path("moved", "a.json"));
	t.equal((await work.cli(["report", "verify", work.path("moved", "a.json")])).code, 0, "a copy verifies anywhere");
});
