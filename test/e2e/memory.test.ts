/** Reading a disk larger than the cache does not make the mount process larger than the cache and a fixed part. */
import { openSync, readFileSync, writeSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { bytesOf } from "./content.js";
import { must, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const MIB = 2 ** 20;
const CACHE_MIB = 32;
const DISK_MIB = 320;
/** node itself, code, buffers of connections: what the process needs beside the cache */
const FIXED_MIB = 150;

/** Peak resident memory, MiB. */
function peak(pid: number): number {
	return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

t.test("memory stays bounded by the cache", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	const fd = openSync(work.path("disk.raw"), "w");
	const chunk = bytesOf(1, MIB);
	for (let i = 0; i < DISK_MIB; i++) {
		// Every block differs, so that the cache cannot answer one from another.
		for (let at = 0; at < MIB; at += 65536) chunk.writeUInt32LE(i * 16 + at / 65536, at);
		writeSync(fd, chunk);
	}
	await work.init();
	await work.backup("vm", work.path("disk.raw"));
	const published = await work.publish(["vm", "--session", "s", "--cache-size", `${CACHE_MIB}m`]);
	const pid = await work.mountdPid("s");
	for (let round = 0; round < 2; round++)
		await must("qemu-img", [
			"convert",
			"-f",
			"raw",
			"-O",
			"raw",
			`${published.ready.url}/disk0-flat.vmdk`,
			work.path("out.raw"),
		]);
	const used = peak(pid);
	t.comment(`peak ${used.toFixed(0)} MiB with a cache of ${CACHE_MIB} MiB, after reading ${2 * DISK_MIB} MiB`);
	t.ok(used < CACHE_MIB + FIXED_MIB, `peak resident memory ${used.toFixed(0)} MiB`);
	t.ok(readFileSync(work.path("out.raw")).equals(readFileSync(work.path("disk.raw"))), "and the content is right");
	await work.stop(published);
});
