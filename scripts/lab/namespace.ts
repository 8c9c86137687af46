/**
 * A network and process namespace of one's own. In it, 127.0.0.1:111 is free for a portmapper (QEMU's nfs:// driver
 * asks for one and knows no other way), no port of the host is used, and everything that runs in it ends with it.
 */
import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Set inside, so that a test knows that it need not enter. */
const mark = "SPRINGBACK_OWN_NETWORK";

/**
 * The command line that runs `command` inside. Root needs no more; others need unprivileged user namespaces, in which
 * they appear to be root.
 */
export function namespaceCommand(command: string[]): string[] {
	const user = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
	return [
		...["setpriv", "--pdeathsig", "KILL", "--", "unshare", ...user],
		...["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"],
		// Not exec: the shell stays as process 1, which collects orphans.
		...["sh", "-c", 'ip link set lo up || exit 125; "$@"; exit $?', "sh", ...command],
	];
}

/** Says in one line why no namespace can be had here, or `undefined` when it can. */
export function namespaceProblem(): string | undefined {
	const [program, ...args] = namespaceCommand(["true"]);
	const run = spawnSync(program, args, { encoding: "utf8" });
	if (run.status === 0) return undefined;
	const reason = (run.error?.message ?? run.stderr).trim().split("\n")[0];
	return `cannot make a private network (${reason}): run it as root, or allow unprivileged user namespaces`;
}

/**
 * For the first lines of a test file: runs the file again inside, with its standard streams, and ends this process with
 * the other's status. Returns at once when inside already.
 *
 * @param moduleUrl `import.meta.url` of the file
 */
export async function enterNamespace(moduleUrl: string): Promise<void> {
	if (process.env[mark] === "1") return;
	const again = [process.execPath, ...process.execArgv, fileURLToPath(moduleUrl), ...process.argv.slice(2)];
	const [program, ...args] = namespaceCommand(again);
	const child = spawn(program, args, { stdio: "inherit", env: { ...process.env, [mark]: "1" } });
	const status = await new Promise<number>((resolve, reject) => {
		child.once("error", reject);
		child.once("exit", (code) => resolve(code ?? 1));
	});
	process.exit(status);
}
