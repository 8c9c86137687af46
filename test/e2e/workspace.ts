/**
 * A directory of one's own with a repository and a state directory, and the real command line run in it. Servers
 * started here are ended by it. Use inside `enterNamespace`, where every port is free and orphans cannot stay.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** the command line, compiled */
export const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

/**
 * Node without the test runner's loaders, which it gives to every child (so by a program between): what is tested is
 * the program as users run it, its memory included.
 */
const NODE = ["env", "-u", "NODE_OPTIONS", process.execPath];

export interface Run {
	code: number | null;
	stdout: string;
	stderr: string;
}

export interface Ready {
	event: "ready";
	session: string;
	url: string;
	nfsPort: number;
	mountPort: number;
	nbd: { disk: string; uris: string[] }[];
	files: string[];
	point: string;
	continued: boolean;
	milliseconds: number;
}

export class Workspace {
	readonly directory = mkdtempSync(join(tmpdir(), "springback-e2e-"));
	readonly repository = join(this.directory, "repo");
	readonly state = join(this.directory, "state");
	private readonly children = new Set<ChildProcess>();

	path(...parts: string[]): string {
		return join(this.directory, ...parts);
	}

	env(): NodeJS.ProcessEnv {
		return { ...process.env, SPRINGBACK_REPO: this.repository, SPRINGBACK_STATE: this.state };
	}

	/** Runs the command to its end. */
	async cli(args: string[], env: Record<string, string> = {}): Promise<Run> {
		return run(NODE[0], [...NODE.slice(1), MAIN, ...args], { ...this.env(), ...env });
	}

	/** As `cli`, but must succeed; the parsed JSON document. */
	async json<T>(args: string[]): Promise<T> {
		const { code, stdout, stderr } = await this.cli([...args, "--json", "--quiet"]);
		// 4: done, with warnings
		if (code !== 0 && code !== 4) throw new Error(`springback ${args.join(" ")}: exit ${code}: ${stderr}`);
		return JSON.parse(stdout) as T;
	}

	async init(): Promise<void> {
		await this.json(["init"]);
	}

	async backup(
		vm: string,
		...sources: string[]
	): Promise<{ point: string; disks: { size: number; read: number; new: number; stored: number }[] }> {
		return this.json(["backup", vm, ...sources.flatMap((source) => ["--disk", source])]);
	}

	/** Starts `publish` in the foreground and waits until it is ready. */
	async publish(args: string[], env: Record<string, string> = {}): Promise<Published> {
		const child = spawn(NODE[0], [...NODE.slice(1), MAIN, "publish", ...args], {
			env: { ...this.env(), ...env },
			stdio: ["ignore", "pipe", "pipe"],
		});
		this.children.add(child);
		let stdout = "";
		let stderr = "";
		child.stderr.setEncoding("utf8").on("data", (text: string) => {
			stderr += text;
		});
		const exited = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
		const ready = await new Promise<Ready>((resolve, reject) => {
			child.stdout.setEncoding("utf8").on("data", (text: string) => {
				stdout += text;
				const end = stdout.indexOf("\n");
				if (end >= 0) resolve(JSON.parse(stdout.slice(0, end)) as Ready);
			});
			void exited.then((code) => reject(new Error(`publish ended with ${code}: ${stderr}`)));
		});
		return { ready, process: child, exited, stderr: () => stderr };
	}

	/** SIGTERM, and the exit code. */
	async stop(published: Published): Promise<number | null> {
		published.process.kill("SIGTERM");
		const code = await published.exited;
		this.children.delete(published.process);
		return code;
	}

	sessions(): Promise<
		{
			session: string;
			state: string;
			error?: string;
			pid?: number;
			written: number | null;
			unprotectedSince: string | null;
		}[]
	> {
		return this.json(["sessions"]);
	}

	/** pid of the mount process that serves `session`. */
	async mountdPid(session: string): Promise<number> {
		const { stdout } = await this.cli(["sessions", "--json"]);
		const found = (JSON.parse(stdout) as { session: string; pid?: number }[]).find((info) => info.session === session);
		if (!found?.pid) throw new Error(`no mount process serves ${session}: ${stdout}`);
		return found.pid;
	}

	/** kill -9 of the mount process; resolves when another one serves the session again. */
	async killMountd(session: string): Promise<number> {
		const pid = await this.mountdPid(session);
		process.kill(pid, "SIGKILL");
		const started = Date.now();
		for (;;) {
			const next = await this.mountdPid(session).catch(() => undefined);
			if (next !== undefined && next !== pid) return Date.now() - started;
			if (Date.now() - started > 30_000) throw new Error("the mount process did not come back");
			await sleep(50);
		}
	}

	log(): string {
		const names = readdirSync(this.state).filter((name) => name.endsWith(".log"));
		return names.map((name) => readFileSync(join(this.state, name), "utf8")).join("");
	}

	async close(): Promise<void> {
		for (const child of this.children) {
			child.kill("SIGTERM");
			await Promise.race([new Promise((resolve) => child.once("exit", resolve)), sleep(5_000)]);
			child.kill("SIGKILL");
		}
		for (const info of await this.sessions().catch(() => []))
			if (info.pid) {
				try {
					process.kill(info.pid, "SIGTERM");
				} catch {
					// gone already
				}
			}
		rmSync(this.directory, { recursive: true, force: true });
	}
}

export interface Published {
	ready: Ready;
	process: ChildProcess;
	exited: Promise<number | null>;
	stderr(): string;
}

/** Runs a program to its end. */
export async function run(program: string, args: string[], env: NodeJS.ProcessEnv = process.env): Promise<Run> {
	const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
	let stdout = "";
	let stderr = "";
	child.stdout.setEncoding("utf8").on("data", (text: string) => {
		stdout += text;
	});
	child.stderr.setEncoding("utf8").on("data", (text: string) => {
		stderr += text;
	});
	const code = await new Promise<number | null>((resolve, reject) => {
		child.once("error", reject);
		child.once("close", (status) => resolve(status));
	});
	return { code, stdout, stderr };
}

/** Runs a program that must succeed. */
export async function must(program: string, args: string[]): Promise<string> {
	const { code, stdout, stderr } = await run(program, args);
	if (code !== 0) throw new Error(`${program} ${args.join(" ")}: exit ${code}: ${stderr}`);
	return stdout;
}
