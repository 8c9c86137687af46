/**
 * Serves an in-memory file for measuring and profiling by hand:
 *   node build/test/nfs/memory-server.js [MiB] [asynchronous]
 * prints the ports as JSON and runs until SIGTERM.
 */
import { startNfsServer } from "../../src/nfs/server.js";
import { MemoryFileSystem } from "./memory-fs.js";

const fileSystem = new MemoryFileSystem();
const mebibytes = Number(process.argv[2] ?? 256);
fileSystem.behaviour.asynchronous = process.argv[3] === "asynchronous";
const file = fileSystem.file("/springback/one/disk-flat.vmdk");
const content = Buffer.alloc(1024 * 1024);
for (let at = 0; at < content.length; at += 4) content.writeUInt32BE((at * 2654435761) >>> 0, at);
for (let index = 0; index < mebibytes; index++) file.put(index * content.length, content);

// As a datastore would: every request is counted under its session.
const volume = { name: "one" };
Object.assign(fileSystem, { volume: () => volume });

const server = await startNfsServer({
	fileSystem,
	listen: "127.0.0.1",
	nfsPort: 0,
	mountPort: 0,
	portmap: "off",
	now: () => BigInt(Date.now()) * 1_000_000n,
	log: (line) => process.stderr.write(`${line}\n`),
});
process.stdout.write(`${JSON.stringify({ nfsPort: server.nfsPort, mountPort: server.mountPort })}\n`);
process.once("SIGTERM", () => {
	const read = server.stats.volume(volume).procedure(server.stats.number("NFS READ"));
	process.stderr.write(`${read.calls} reads in ${server.stats.batches} batches\n`);
	void server.close();
});
