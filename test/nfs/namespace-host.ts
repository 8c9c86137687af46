/**
 * Run by tests in a network namespace of its own, where the customary ports are free: serves one disk, runs a
 * command against it, stops, runs it again. Prints how portmap is done, then each run's output and exit code.
 *   node namespace-host.js COMMAND ARGUMENT…
 */
import { spawn } from "node:child_process";
import { startNfsServer } from "../../src/nfs/server.js";
import { MemoryFileSystem } from "./memory-fs.js";
import { content } from "./namespace.js";

/** Not spawnSync: the server asked may be this process. */
async function run(): Promise<void> {
	const child = spawn(process.argv[2], process.argv.slice(3), { stdio: ["ignore", "pipe", "inherit"] });
	for await (const part of child.stdout) process.stdout.write(part);
	const code = child.exitCode ?? (await new Promise((resolve) => child.on("close", resolve)));
	process.stdout.write(`exit ${code}\n---\n`);
}

const fileSystem = new MemoryFileSystem();
fileSystem.file("/springback/one/disk-flat.vmdk", content(1_000_448));
const server = await startNfsServer({
	fileSystem,
	listen: "127.0.0.1",
	nfsPort: 2049,
	mountPort: 20048,
	portmap: "auto",
	now: () => BigInt(Date.now()) * 1_000_000n,
	log: (line) => process.stderr.write(`${line}\n`),
});
process.stdout.write(`${server.portmap}\n---\n`);
await run();
await server.close();
await run();
