/**
 * The demo's verify flow as a test: VMs are verified from their backups at once, with signed reports. The flow itself checks
 * all of it and fails otherwise. With SPRINGBACK_LONG as the demo runs it: with a database, and one after the other before.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { databaseImage, debianImage, projectDirectory, smallImage } from "../../scripts/lab/guests.js";

const LONG = Boolean(process.env.SPRINGBACK_LONG);
const FASTER = 1.6;

t.test("the verify flow of scripts/demo", { timeout: LONG ? 900_000 : 500_000 }, async (t) => {
	const directory = mkdtempSync(join(tmpdir(), "springback-verify-"));
	t.teardown(() => rmSync(directory, { recursive: true, force: true }));
	const flow = join(projectDirectory, "build/scripts/flows/verify.js");
	const images = [debianImage(), smallImage(), ...(LONG ? [databaseImage()] : [])];
	const run = spawnSync(process.execPath, [flow, directory, ...images], { encoding: "utf8" });
	t.comment(run.stdout);
	t.equal(run.status, 0, run.stderr);
	t.match(run.stdout, /the restore points are as they were/);
	t.match(run.stdout, /the reports are as they were signed/);
	const pages = readdirSync(join(directory, "verify/repository/reports")).filter((name) => name.endsWith(".html"));
	t.equal(pages.length, LONG ? 2 : 1, "a page for each run");
	t.strictSame(readdirSync(join(directory, "verify/state/lab")), [], "no VM is left");
	if (!LONG) return;
	const faster = Number(/faster by\s+([0-9.]+) times/.exec(run.stdout)?.[1]);
	t.ok(faster >= FASTER, `all at once is ${faster} times faster, expected ${FASTER}`);
});
