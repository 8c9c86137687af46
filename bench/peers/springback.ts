/**
 * Our own side, through its command line: what a user runs is what is measured.
 */
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { residentBytes, run, Server, type Timed } from "../measure/process.js";

export const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

export interface BackupOutcome extends Timed {
	/** seconds that the command itself reports: without the start of the process */
	reported: number;
	/** bytes read from the source */
	read: number;
	/** plain bytes that were new, and what they take up */
	newBytes: number;
	storedBytes: number;
}

interface Ready {
	session: string;
	url: string;
	nfsPort: number;
	mountPort: number;
	metricsPort?: number;
	nbd: { disk: string; uris: string[] }[];
	files: string[];
	/** control request to ready */
	milliseconds: number;
}

export interface PublishOptions {
	/** on the standard ports and with a port mapper, else on free ports without */
	portmap: boolean;
	cacheBytes?: number;
	/** serve metrics, too */
	metrics?: boolean;
	/** for a mount process that starts with this session */
	env?: Record<string, string>;
}

/** One repository and one state directory. */
export class Springback {
	readonly repository: string;
	readonly state: string;

	/** @param state the state directory; that of another one puts both under the same mount process */
	constructor(
		readonly directory: string,
		state = join(directory, "state"),
	) {
		this.repository = join(directory, "repository");
		this.state = state;
	}

	#keyFile: string | undefined;

	async init({ compression, encrypt = false }: { compression?: string; encrypt?: boolean } = {}): Promise<void> {
		if (encrypt) {
			this.#keyFile = join(this.directory, "passphrase");
			writeFileSync(this.#keyFile, "benchmark\n");
		}
		await this.#run([
			"init",
			...(compression ? ["--compression", compression] : []),
			...(encrypt ? ["--encrypt"] : []),
		]);
	}

	/** `changes`: a file of extents changed since the VM's newest point */
	async backup(vm: string, image: string, changes?: string): Promise<BackupOutcome> {
		const tracked = changes ? ["--since", "latest", "--changes", changes] : [];
		const timed = await this.#run(["backup", vm, "--disk", image, "--json", ...tracked]);
		const { seconds, disks } = JSON.parse(timed.stdout) as {
			seconds: number;
			disks: { read: number; new: number; stored: number }[];
		};
		return { ...timed, reported: seconds, read: disks[0].read, newBytes: disks[0].new, storedBytes: disks[0].stored };
	}

	export(vm: string, target: string): Promise<Timed> {
		return this.#run(["export", vm, "--disk", "0", "-o", target]);
	}

	/** Serves the newest point of `vm` until `stop`. With `portmap` on the standard ports, else on free ones. */
	async publish(vm: string, options: PublishOptions): Promise<Published> {
		const ports = options.portmap ? [] : ["--nfs-port", "0", "--mount-port", "0", "--no-portmap"];
		const cache = options.cacheBytes ? ["--cache-size", String(options.cacheBytes)] : [];
		const metrics = options.metrics ? ["--metrics-port", "0"] : [];
		const log = join(this.directory, "publish.log");
		const command = this.#command(["publish", vm, ...ports, ...cache, ...metrics]);
		const server = new Server(command, log, { piped: true, env: options.env });
		let output = "";
		server.process.stdout?.setEncoding("utf8").on("data", (text: string) => {
			output += text;
		});
		const ready = await server.ready(async () => {
			const end = output.indexOf("\n");
			return end < 0 ? undefined : (JSON.parse(output.slice(0, end)) as Ready);
		}, 30_000);
		return new Published(this, server, ready);
	}

	/** pid of the process that serves the session */
	async mountProcess(session: string): Promise<number> {
		const { stdout } = await this.#run(["sessions", "--json"]);
		const found = (JSON.parse(stdout) as { session: string; pid?: number }[]).find((one) => one.session === session);
		if (!found?.pid) throw new Error(`no mount process serves ${session}`);
		return found.pid;
	}

	#run(args: string[]): Promise<Timed> {
		return run(this.#command(args));
	}

	#command([name, ...args]: string[]): string[] {
		const key = this.#keyFile === undefined ? [] : ["--key-file", this.#keyFile];
		return [process.execPath, MAIN, name, "--repo", this.repository, "--state", this.state, "--quiet", ...key, ...args];
	}
}

/** A restore point that is being served. */
export class Published {
	constructor(
		private readonly owner: Springback,
		private readonly server: Server,
		readonly ready: Ready,
	) {}

	/** Name of the file with the first disk's raw content. */
	get disk(): string {
		const name = this.ready.files.find((file) => file.endsWith("-flat.vmdk"));
		if (!name) throw new Error(`the session has no disk: ${this.ready.files.join(", ")}`);
		return name;
	}

	/** pid of the process that serves it */
	mountProcess(): Promise<number> {
		return this.owner.mountProcess(this.ready.session);
	}

	/** Resident bytes of the mount process now. */
	async memory(): Promise<number> {
		return residentBytes(await this.owner.mountProcess(this.ready.session));
	}

	/** Ends publishing where another session keeps the mount process. */
	async leave(): Promise<void> {
		await this.server.stop();
	}

	/** Value of a metric of the mount process, of this session where the metric has sessions. */
	async metric(name: string): Promise<number> {
		const text = await (await fetch(`http://127.0.0.1:${this.ready.metricsPort}/metrics`)).text();
		const lines = text.split("\n").filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
		const line = lines.length > 1 ? lines.find((one) => one.includes(`"${this.ready.session}"`)) : lines[0];
		if (line === undefined) throw new Error(`the mount process has no metric ${name}`);
		return Number(line.slice(line.lastIndexOf(" ")));
	}

	/** Ends publishing, and waits until the mount process is gone with its ports. */
	async stop(): Promise<void> {
		const pid = await this.owner.mountProcess(this.ready.session);
		await this.server.stop();
		for (let waited = 0; statSync(`/proc/${pid}`, { throwIfNoEntry: false }); waited += 50) {
			if (waited > 20_000) throw new Error(`the mount process (pid ${pid}) does not end`);
			await sleep(50);
		}
	}
}
