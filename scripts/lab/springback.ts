/**
 * The `springback` command as an outside program: run with a repository and a state directory of one's own, its JSON
 * read from stdout.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { projectDirectory } from "./guests.js";

export interface CommandResult {
	/** exit code; `null` after a signal */
	status: number | null;
	stdout: string;
	stderr: string;
	/** from start to end of the process */
	seconds: number;
}

/** What `publish` prints when a session is served. */
export interface Ready {
	event: "ready";
	session: string;
	url: string;
	nfsPort: number;
	mountPort: number;
	files: string[];
	/** control request to ready */
	milliseconds?: number;
}

/** What `backup --json` prints; sizes in bytes. */
export interface BackupReport {
	point: string;
	vm: string;
	disks: { name: string; size: number; read: number; new: number; stored: number }[];
	seconds: number;
}

export class Springback {
	readonly #environment: NodeJS.ProcessEnv;

	constructor(
		readonly repository: string,
		readonly state: string,
		/** command line that runs the command */
		private readonly through: readonly string[] = [],
	) {
		this.#environment = { ...process.env, SPRINGBACK_REPO: repository, SPRINGBACK_STATE: state };
	}

	/** Runs a command to its end. A failing one is a result, not an error. */
	run(...args: string[]): Promise<CommandResult> {
		const begin = Date.now();
		const [program, ...words] = [...this.through, join(projectDirectory, "scripts/springback"), ...args];
		const child = spawn(program, words, {
			env: this.#environment,
			stdio: ["ignore", "pipe", "pipe"],
		});
		const result: CommandResult = { status: null, stdout: "", stderr: "", seconds: 0 };
		child.stdout.setEncoding("utf8").on("data", (text: string) => {
			result.stdout += text;
		});
		child.stderr.setEncoding("utf8").on("data", (text: string) => {
			result.stderr += text;
		});
		return new Promise((resolve, reject) => {
			child.once("error", reject);
			child.once("close", (status) => resolve({ ...result, status, seconds: (Date.now() - begin) / 1000 }));
		});
	}

	/** Runs a command that must succeed, and parses the JSON it prints. */
	async json<T>(...args: string[]): Promise<T> {
		return JSON.parse((await this.succeed(...args, "--json")).stdout) as T;
	}

	/** Publishes detached: the mount process goes on serving after this returns. */
	async publish(...args: string[]): Promise<Ready> {
		return this.json<Ready>("publish", ...args, "--detach");
	}

	/** Process id of the mount process that serves a session. */
	async mountProcess(session: string): Promise<number> {
		const sessions = await this.json<{ session: string; pid?: number }[]>("sessions");
		const pid = sessions.find((entry) => entry.session === session)?.pid;
		if (pid === undefined) throw new Error(`no mount process serves session ${session}`);
		return pid;
	}

	async succeed(...args: string[]): Promise<CommandResult> {
		const result = await this.run(...args);
		if (result.status !== 0)
			throw new Error(`springback ${args.join(" ")} ended with ${result.status}: ${result.stderr.trim()}`);
		return result;
	}
}

/** `nfs://…` of the raw content of a published disk, the first one by default. */
export function diskUrl(ready: Ready, disk = 0): string {
	const flat = ready.files.filter((name) => name.endsWith("-flat.vmdk"))[disk];
	if (!flat) throw new Error(`session ${ready.session} publishes no disk ${disk}: ${ready.files.join(", ")}`);
	return `${ready.url}/${flat}`;
}
