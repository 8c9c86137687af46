/** A network namespace for tests that need port 111, and disk content to compare. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const PREPARE = "ip link set lo up && mount -t tmpfs none /run && mkdir /run/rpcbind";

const inNamespace = (script: string) =>
	spawnSync("unshare", ["-n", "-m", "-p", "-f", "--mount-proc", "sh", "-c", script], {
		encoding: "utf8",
		env: { PATH: process.env.PATH },
	});

/** False, or why not: for tap's `skip`. */
export function missing(...commands: string[]): false | string {
	const found = inNamespace([PREPARE, ...commands.map((name) => `command -v ${name}`)].join(" && ")).status === 0;
	return found ? false : `needs root, namespaces and ${commands.join(", ")}`;
}

/** Serves in a namespace while `command` runs, see namespace-host.ts; returns the parts it printed. */
export function servedInNamespace(command: string, prepare = "true"): { parts: string[]; errors: string } {
	const host = fileURLToPath(new URL("namespace-host.js", import.meta.url));
	const { stdout, stderr } = inNamespace(`${PREPARE} && ${prepare} && ${process.execPath} ${host} ${command}`);
	return { parts: stdout.split("---\n"), errors: stderr };
}

/** Bytes that do not repeat within a block. */
export function content(length: number): Buffer {
	const bytes = Buffer.alloc(length);
	for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(Math.imul(at + 1, 2654435761) >>> 0, at);
	return bytes;
}
