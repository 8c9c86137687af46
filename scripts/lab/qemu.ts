/**
 * A QEMU process: started, watched, photographed and ended. Everything it leaves is in the caller's directory; it dies
 * with the process that started it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Acceleration } from "./acceleration.js";
import { GuestAgent } from "./guest-agent.js";
import { JsonLines } from "./json-lines.js";

export interface Disk {
	/** path or URI (`nfs://HOST/PATH`, `nbd://…`) of raw content */
	source: string;
	/** writes go to a temporary file and are lost */
	snapshot?: boolean;
	readOnly?: boolean;
	/** the guest's bus; `pvscsi` is what a VMware guest sees */
	bus?: "virtio" | "pvscsi";
	/**
	 * an existing empty file in which every write, flush and discard is recorded, in the format of the kernel's
	 * dm-log-writes with sectors of 512 bytes; `source` is then a file, and the host itself syncs nothing
	 */
	log?: string;
}

export interface MachineOptions {
	/** existing directory for sockets and logs; a short path, for a socket's name is limited to 107 bytes */
	directory: string;
	acceleration: Acceleration;
	/** MiB */
	memory?: number;
	cpus?: number;
	disks?: Disk[];
	/** user-mode network; from loopback ports of the host to TCP ports of the guest. Left out: no network card. */
	forwards?: { host: number; guest: number }[];
	/** a port for the guest agent */
	agent?: boolean;
	/** boots this kernel directly instead of the first disk */
	kernel?: { image: string; initrd: string; append: string };
	/** more arguments for QEMU */
	extra?: string[];
	/** pipes the second serial port through the process' stdin and stdout */
	pipeSecondSerial?: boolean;
}

export class Machine {
	readonly process: ChildProcess;
	readonly directory: string;
	readonly agent: GuestAgent;
	/** milliseconds since the epoch */
	readonly started = Date.now();
	#qmp: JsonLines | undefined;
	readonly #exited: Promise<number | null>;
	#closed = false;

	private constructor(options: MachineOptions) {
		this.directory = options.directory;
		this.agent = new GuestAgent(join(options.directory, "agent.sock"));
		const log = openSync(join(options.directory, "qemu.log"), "a");
		// setpriv: the kernel ends QEMU when this process ends, however that happens.
		this.process = spawn("setpriv", ["--pdeathsig", "KILL", "--", "qemu-system-x86_64", ...machineArguments(options)], {
			stdio: options.pipeSecondSerial ? ["pipe", "pipe", log] : ["ignore", log, log],
		});
		closeSync(log);
		this.#exited = new Promise((resolve, reject) => {
			this.process.once("error", reject);
			this.process.once("exit", (code) => {
				this.#closed = true;
				resolve(code);
			});
		});
		this.#exited.catch(() => {});
	}

	/** Starts the machine and connects to its monitor. Fails with QEMU's own message when it does not come up. */
	static async start(options: MachineOptions): Promise<Machine> {
		const machine = new Machine(options);
		try {
			await machine.#connect();
		} catch (cause) {
			await machine.kill();
			throw cause;
		}
		return machine;
	}

	get pid(): number {
		return this.process.pid ?? -1;
	}

	get running(): boolean {
		return !this.#closed;
	}

	/** Seconds since the start. */
	get seconds(): number {
		return (Date.now() - this.started) / 1000;
	}

	/** What the guest wrote to its first serial port so far. */
	get serial(): string {
		const path = join(this.directory, "serial.log");
		return existsSync(path) ? readFileSync(path, "latin1") : "";
	}

	/** What QEMU itself complained about. */
	get log(): string {
		return readFileSync(join(this.directory, "qemu.log"), "utf8").trim();
	}

	/** One command of the QEMU machine protocol. */
	qmp(execute: string, args: Record<string, unknown> = {}): Promise<unknown> {
		if (!this.#qmp) throw new Error("QEMU's monitor is not connected");
		return this.#qmp.request({ execute, arguments: args });
	}

	/** Writes the guest's screen as a PNG file. */
	async screenshot(path: string): Promise<void> {
		await this.qmp("screendump", { filename: path, format: "png" });
	}

	/** Resolves with QEMU's exit code; fails after `milliseconds` when it still runs. */
	async exited(milliseconds: number): Promise<number | null> {
		const abort = new AbortController();
		const late = sleep(milliseconds, "late" as const, { signal: abort.signal }).catch(() => "late" as const);
		const outcome = await Promise.race([this.#exited, late]);
		abort.abort();
		if (outcome === "late") throw new Error(`the guest still runs after ${milliseconds} ms`);
		return outcome;
	}

	/** Asks the guest to power off, by its power button; kills it when late. */
	async powerOff(milliseconds = 60_000): Promise<void> {
		if (!this.running) return;
		await this.qmp("system_powerdown").catch(() => {});
		await this.exited(milliseconds).catch(() => this.kill());
		this.#disconnect();
	}

	/** Pulls the plug. */
	async kill(): Promise<void> {
		this.#disconnect();
		if (!this.#closed) this.process.kill("SIGKILL");
		await this.#exited.catch(() => {});
	}

	#disconnect(): void {
		this.#qmp?.close();
		this.agent.close();
	}

	async #connect(): Promise<void> {
		const path = join(this.directory, "qmp.sock");
		for (let tries = 0; tries < 500; tries++) {
			const code = await Promise.race([this.#exited, sleep(20, "runs" as const)]);
			if (code !== "runs") throw new Error(`QEMU ended at once: ${this.log || `exit ${code}`}`);
			try {
				this.#qmp = await JsonLines.connect(path);
				await this.#qmp.request({ execute: "qmp_capabilities" });
				return;
			} catch {
				// not listening yet
			}
		}
		throw new Error(`QEMU's monitor did not answer: ${this.log}`);
	}
}

function machineArguments(options: MachineOptions): string[] {
	const { directory } = options;
	const socket = (name: string) => `path=${quoted(join(directory, name))},server=on,wait=off`;
	const args = [
		...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
		...["-machine", "pc", "-accel", options.acceleration === "kvm" ? "kvm" : "tcg,thread=multi"],
		...(options.acceleration === "kvm" ? ["-cpu", "host"] : []),
		...["-m", String(options.memory ?? 512), "-smp", String(options.cpus ?? 2)],
		...["-chardev", `socket,id=monitor,${socket("qmp.sock")}`, "-mon", "chardev=monitor,mode=control"],
		...["-serial", `file:${quoted(join(directory, "serial.log"))}`],
		// Entropy from the host: a guest that waits for random numbers boots slowly and unevenly.
		...["-device", "virtio-rng-pci"],
	];
	if (options.pipeSecondSerial) args.push("-chardev", "stdio,id=second,signal=off", "-serial", "chardev:second");
	if (options.kernel) {
		const { image, initrd, append } = options.kernel;
		args.push("-kernel", image, "-initrd", initrd, "-append", append);
	} else {
		args.push("-vga", "std");
	}
	if (options.forwards) {
		const forwards = options.forwards.map(({ host, guest }) => `,hostfwd=tcp:127.0.0.1:${host}-:${guest}`);
		args.push("-netdev", `user,id=net${forwards.join("")}`, "-device", "virtio-net-pci,netdev=net,romfile=");
	}
	if (options.agent) {
		args.push("-device", "virtio-serial", "-chardev", `socket,id=agent,${socket("agent.sock")}`);
		args.push("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0");
	}
	for (const [index, disk] of (options.disks ?? []).entries()) args.push(...diskArguments(disk, index));
	return [...args, ...(options.extra ?? [])];
}

function diskArguments(disk: Disk, index: number): string[] {
	if (disk.log !== undefined) return recordedDiskArguments(disk.source, disk.log, index);
	const flags = `${disk.snapshot ? ",snapshot=on" : ""}${disk.readOnly ? ",readonly=on" : ""}`;
	const drive = `file=${quoted(disk.source)},format=raw,if=none,id=disk${index}${flags}`;
	const devices =
		disk.bus === "pvscsi"
			? ["-device", `pvscsi,id=scsi${index}`, "-device", `scsi-hd,bus=scsi${index}.0,drive=disk${index}`]
			: ["-device", `virtio-blk-pci,drive=disk${index}`];
	return ["-drive", drive, ...devices];
}

function recordedDiskArguments(source: string, log: string, index: number): string[] {
	const file = (name: string, path: string) =>
		`driver=file,node-name=${name}${index},filename=${quoted(path)},cache.no-flush=on`;
	return [
		...["-blockdev", file("source", source), "-blockdev", file("log", log)],
		"-blockdev",
		`driver=blklogwrites,node-name=disk${index},file=source${index},log=log${index},log-sector-size=512`,
		// Merged requests have up to IOV_MAX parts, and blklogwrites adds two of its own: EINVAL.
		...["-device", `virtio-blk-pci,drive=disk${index},request-merging=off`],
	];
}

/** A comma in a value of QEMU's option syntax is written twice. */
function quoted(value: string): string {
	return value.replaceAll(",", ",,");
}
