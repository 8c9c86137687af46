/** Writes of any length at any offset through NFS read back exactly, also after kill -9; the point never changes. */
import { openSync, readFileSync, statSync, truncateSync, writeSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { digest, random, writeDisk } from "./content.js";
import { must, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const SIZE = 3 * 2 ** 20 + 1234;

/** qemu-io commands that write pseudo-random places of a disk; applied to `model` as well. */
function writes(model: number, seed: number, count: number): string[] {
	const next = random(seed);
	const commands: string[] = [];
	for (let i = 0; i < count; i++) {
		const length = 1 + Math.floor(next() ** 3 * 200_000);
		const offset = Math.floor(next() * (SIZE - length));
		const pattern = 1 + Math.floor(next() * 255);
		commands.push("-c", `write -q -P ${pattern} ${offset} ${length}`);
		writeSync(model, Buffer.alloc(length, pattern), 0, length, offset);
	}
	return commands;
}

t.test("odd writes, kill -9, another session run", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	const source = work.path("source.raw");
	writeDisk(source, 7, SIZE);
	const before = await digest(source);
	await work.init();
	await work.backup("vm", source);
	const published = await work.publish(["vm", "--session", "s"]);
	const disk = `${published.ready.url}/disk0-flat.vmdk`;
	const model = work.path("model.raw");
	await must("cp", [source, model]);
	truncateSync(model, Math.ceil(SIZE / 512) * 512);
	const fd = openSync(model, "r+");
	const copy = async (name: string) => {
		const out = work.path("copy.raw");
		await must("qemu-img", ["convert", "-f", "raw", "-O", "raw", disk, out]);
		t.ok(readFileSync(out).equals(readFileSync(model)), name);
	};

	await must("qemu-io", ["-f", "raw", ...writes(fd, 1, 40), "-c", "flush", disk]);
	await copy("reads back");
	const pause = await work.killMountd("s");
	t.comment(`the mount process was back after ${pause} ms`);
	await copy("reads back after kill -9");
	await must("qemu-io", ["-f", "raw", ...writes(fd, 2, 40), "-c", "flush", disk]);
	await copy("and goes on");
	t.equal(await work.stop(published), 0);

	const again = await work.publish(["vm", "--session", "s"]);
	t.equal(again.ready.continued, true, "the same name continues the session");
	await copy("reads back after a stop");
	await work.stop(again);

	const out = work.path("point.raw");
	await work.json(["export", "vm", "--disk", "disk0", "-o", out]);
	t.equal(statSync(out).size, SIZE);
	t.equal(await digest(out), before, "the restore point is what it was");
	t.equal((await work.cli(["check", "--read-data"])).code, 0, "and the repository is whole");
});
