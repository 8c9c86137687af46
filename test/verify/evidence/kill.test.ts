/** A server that is killed while it writes reports: what is there is whole, and the chain goes on without a gap. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import { Catalog, catalogPaths } from "../../../src/catalog/index.js";
import { importReports, loadSigner, verifyFolder, writeReport } from "../../../src/verify/evidence/index.js";
import { run } from "./sample.js";

const built = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
const SCRIPT = `
const { Catalog, catalogPaths } = await import(${built("../../../src/catalog/index.js")});
const { loadSigner, writeReport } = await import(${built("../../../src/verify/evidence/index.js")});
const { run } = await import(${built("./sample.js")});
const [state, folder] = process.argv.slice(1);
const catalog = await Catalog.open(catalogPaths(state, state + "/config"));
const signer = await loadSigner(state);
for (;;) {
	const { chain } = await writeReport(run(), folder, signer, catalog);
	console.log(chain.sequence);
}`;

t.test("killed at any moment, nothing that was written is lost or broken", async (t) => {
	const root = t.testdir({});
	const [state, folder] = [join(root, "state"), join(root, "reports")];
	/** the last place that a writer told of */
	let told = 0;
	const round = async (faults: object[], lives: number) => {
		const child = spawn(process.execPath, ["--input-type=module", "-e", SCRIPT, state, folder], {
			env: { ...process.env, NODE_OPTIONS: "", SPRINGBACK_FAULTS: JSON.stringify(faults) },
			stdio: ["ignore", "pipe", "inherit"],
		});
		const exit = once(child, "exit");
		child.stdout.setEncoding("utf8").on("data", (text: string) => {
			for (const line of text.split("\n").filter(Boolean)) told = Math.max(told, Number(line));
		});
		await Promise.race([once(child.stdout, "data"), exit]);
		await sleep(lives);
		child.kill("SIGKILL");
		await exit;
		const catalog = await Catalog.open(catalogPaths(state, join(state, "config")));
		try {
			const imported = importReports(folder, catalog);
			const { fingerprint } = await loadSigner(state);
			const { reports, missing } = verifyFolder(folder, new Map([[fingerprint, "own"]]), catalog.reports.list());
			t.strictSame([missing, imported.damaged, reports.filter(({ ok }) => !ok)], [[], [], []]);
			const last = catalog.reports.head(run().repository.id, fingerprint)?.sequence ?? 0;
			t.ok(last >= told, `report ${told} was acknowledged, ${last} is there`);
			return reports.length;
		} finally {
			catalog.close();
		}
	};
	// In the middle of a write: of the key, of the JSON file, of the page.
	for (const path of ["report-key.pem", ".json", ".html"]) await round([{ op: "pwrite", path, short: 100 }], 0);
	let files = 0;
	for (const lives of [0, 3, 7, 13, 22]) files = await round([], lives);
	t.ok(files >= 10, `${files} files were written`);
	const catalog = await Catalog.open(catalogPaths(state, join(state, "config")));
	t.teardown(() => catalog.close());
	t.ok((await writeReport(run(), folder, await loadSigner(state), catalog)).chain.sequence > told);
});
