/**
 * The demo's boot flow as a test: a real VM boots from its backup over NFS, outlives a `kill -9` of the process that
 * serves its disk, and finds its data in the continued session. The flow itself checks all of it and fails otherwise.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { debianImage, evolveImage, projectDirectory } from "../../scripts/lab/guests.js";

t.test("the boot flow of scripts/demo", { timeout: 500_000 }, async (t) => {
	const directory = mkdtempSync(join(tmpdir(), "springback-boot-"));
	t.teardown(() => rmSync(directory, { recursive: true, force: true }));
	const image = debianImage();
	const later = join(directory, "later.raw");
	evolveImage(image, later);
	const flow = join(projectDirectory, "build/scripts/flows/boot.js");
	const run = spawnSync(process.execPath, [flow, image, later, directory], { encoding: "utf8" });
	t.comment(run.stdout);
	t.equal(run.status, 0, run.stderr);
	t.match(run.stdout, /the file is there, to the last byte/);
	t.match(run.stdout, /unchanged by the boots/);
	const png = readFileSync(join(directory, "console.png"));
	t.equal(png.subarray(1, 4).toString("latin1"), "PNG");
	t.ok(png.length > 1000, "with something on it");
});
