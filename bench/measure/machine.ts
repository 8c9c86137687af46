/**
 * What the figures were measured on, and how busy it was with other things.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

export interface Machine {
	cpu: string;
	cores: number;
	/** bytes */
	memory: number;
	kernel: string;
	/** "kvm", "none" … as systemd-detect-virt names it, where known */
	virtualization: string;
	/** program → version */
	versions: Record<string, string>;
}

/** Program → how to ask for its version. What is not installed is left out. */
const PROGRAMS: Record<string, { command: string[]; package?: string }> = {
	qemu: { command: ["qemu-system-x86_64", "--version"] },
	"qemu-img": { command: ["qemu-img", "--version"] },
	"qemu-nbd": { command: ["qemu-nbd", "--version"] },
	nbdkit: { command: ["nbdkit", "--version"] },
	libnbd: { command: ["dpkg-query", "-W", "-f", `\${Version}`, "libnbd-dev"] },
	borg: { command: ["borg", "--version"] },
	restic: { command: ["restic", "version"] },
	"nfs-ganesha": { command: ["dpkg-query", "-W", "-f", `\${Version}`, "nfs-ganesha"] },
	libnfs: { command: ["dpkg-query", "-W", "-f", `\${Version}`, "libnfs-dev"] },
};

export function machine(programs: readonly string[]): Machine {
	const processors = cpus();
	const versions: Record<string, string> = { node: process.version };
	for (const name of programs) {
		const [program, ...args] = PROGRAMS[name].command;
		const answer = spawnSync(program, args, { encoding: "utf8" });
		const version = /\d+(\.\d+)+[^\s,]*/.exec(answer.stdout ?? "")?.[0];
		if (version) versions[name] = version;
	}
	return {
		cpu: processors[0]?.model.trim() ?? "unknown",
		cores: processors.length,
		memory: totalmem(),
		kernel: release(),
		virtualization: spawnSync("systemd-detect-virt", { encoding: "utf8" }).stdout?.trim() || "unknown",
		versions,
	};
}

/** What others did to the machine: told with the figures, because nothing can subtract it from them. */
export interface Noise {
	/** processes running or waiting for a disk, average of the last minute, when the scenario began and ended */
	loadBefore: number;
	loadAfter: number;
	/** share of all processor time, 0 to 1, that was in use before our first run; one value per sample */
	busyBefore: number[];
}

export class NoiseMeter {
	readonly #loadBefore = loadavg()[0];
	readonly #busy: number[] = [];

	/** Listens for half a second. To be called while nothing of the benchmark runs. */
	async listen(): Promise<void> {
		const before = processorTimes();
		await sleep(500);
		const after = processorTimes();
		this.#busy.push((after.busy - before.busy) / Math.max(1, after.all - before.all));
	}

	get noise(): Noise {
		return { loadBefore: this.#loadBefore, loadAfter: loadavg()[0], busyBefore: this.#busy };
	}
}

/** In clock ticks since boot: proc(5), /proc/stat. Time stolen by the hypervisor counts as busy. */
function processorTimes(): { busy: number; all: number } {
	const [user, nice, system, idle, iowait, irq, softirq, steal] = readFileSync("/proc/stat", "utf8")
		.split("\n", 1)[0]
		.trim()
		.split(/\s+/)
		.slice(1)
		.map(Number);
	const busy = user + nice + system + irq + softirq + steal;
	return { busy, all: busy + idle + iowait };
}
