/**
 * What a guest feels of a backup: the latency of its synchronous writes while a backup of it goes into a repository that is
 * slow, beside the same without a backup. What the guest overwrites is copied to a local scratch file first.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { acceleration } from "../../scripts/lab/acceleration.js";
import { cpio } from "../../scripts/lab/cpio.js";
import { tinyGuest } from "../../scripts/lab/guests.js";
import { openHost } from "../../src/hypervisor/index.js";
import { freshDirectory, requireSpace } from "../data/places.js";
import { alternate, Series } from "../measure/pairs.js";
import { staticProgram } from "../peers/c-programs.js";
import { MAIN } from "../peers/springback.js";
import type { Outcome, Scenario, Settings } from "./scenario.js";

const MIB = 2 ** 20;
const SIZE = 256 * MIB;
const VM = "bench";
/** between the beginnings of two writes */
const PERIOD_US = 4_000;
/** added to every write of the backup into its repository */
const SLOW_MS = 500;
const BOOT_MS = 120_000;
const BACKUP = "backup into a slow repository";
const NONE = "no backup";

export const guestLatency: Scenario = {
	name: "guest-latency",
	summary: "synchronous writes in a guest while its backup goes into a slow repository, beside no backup",
	pairs: 5,
	quickPairs: 1,
	byName: true,
	programs: ["qemu"],
	prepare: async () => {
		tinyGuest();
		await acceleration();
	},
	run: measure,
};

const INIT = (seconds: number): string => `#!/bin/busybox sh
busybox mkdir -p /proc /sys /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox --install -s
while read -r module; do insmod "$module" 2>/dev/null; done </modules.order
exec /guest-writes /dev/vda ${SIZE} ${seconds} ${PERIOD_US} >/dev/ttyS0 2>&1
`;

async function measure({ pairs, quick, say }: Settings): Promise<Outcome> {
	const seconds = quick ? 3 : 10;
	requireSpace(4 * SIZE);
	const directory = freshDirectory("h");
	const mode = await acceleration();
	define(join(directory, "vms", VM), seconds, mode);
	const uri = `qemu://${join(directory, "vms")}`;
	const env = {
		...process.env,
		SPRINGBACK_REPO: join(directory, "repository"),
		SPRINGBACK_STATE: join(directory, "state"),
	};
	await springback(["init"], env);
	await springback(["hosts", "add", "lab", "qemu", uri], env);
	const host = await openHost("qemu", uri);
	await host.power(VM, "on");
	const load = `4 KiB, O_DSYNC, one every ${PERIOD_US / 1000} ms`;
	const [median, p99, max] = ["median", "p99", "longest"].map((of) => new Series(`${load}: ${of}`, "µs", "lower"));
	try {
		const windows = new Windows(join(directory, "vms", VM, "console.log"));
		await windows.next(BOOT_MS);
		await alternate(pairs, [BACKUP, NONE], async (side, pair) => {
			const backup = side === BACKUP ? await slowBackup(env) : undefined;
			// The first may have begun before.
			await windows.next(BOOT_MS);
			const [, ...latency] = await windows.next(BOOT_MS);
			await backup?.stop();
			for (const [n, series] of [median, p99, max].entries()) series.add(side, latency[n]);
			say(`pair ${pair + 1}/${pairs}: ${side}: p99 ${latency[1]} µs`);
		});
	} finally {
		await host.power(VM, "off").catch(() => {});
		await host.close();
	}
	return {
		conditions: [
			`Guest: Linux under QEMU (${mode}), one virtio disk of ${SIZE / MIB} MiB, raw on the local disk, all of it written; writes to random places for ${seconds} s.`,
			`Backup: all of the disk is read; every write to the repository takes ${SLOW_MS} ms more. It is stopped after the measurement, and begins anew each time, so that the guest meets blocks that were not copied yet.`,
		],
		tables: [{ title: "Writes in the guest", sides: [BACKUP, NONE], series: [median, p99, max] }],
		remarks: [],
	};
}

function define(folder: string, seconds: number, mode: "kvm" | "tcg"): void {
	mkdirSync(folder, { recursive: true });
	const guest = tinyGuest();
	const files = [
		{ name: "init", content: INIT(seconds), mode: 0o755 },
		{ name: "guest-writes", content: readFileSync(staticProgram("guest-writes")), mode: 0o755 },
	];
	writeFileSync(join(folder, "initrd"), Buffer.concat([readFileSync(guest.initrd), cpio(files)]));
	writeFileSync(join(folder, "disk.raw"), randomBytes(SIZE));
	const disks = [{ bus: "virtio", controller: 0, unit: 0, name: "disk0" }];
	const config = { version: 1, name: VM, uuid: "b5b5b5b5-0000-4000-8000-000000000001", memoryMiB: 192, cpus: 1, disks };
	const append = "console=ttyS1 quiet panic=-1 mitigations=off";
	const definition = {
		version: 1,
		acceleration: mode,
		config,
		disks: { disk0: { source: "disk.raw", format: "raw" } },
		kernel: { image: guest.kernel, initrd: "initrd", append },
	};
	writeFileSync(join(folder, "vm.json"), JSON.stringify(definition));
}

/** Lines of the guest: count, median, p99 and longest of each window. */
class Windows {
	#seen = 0;

	constructor(private readonly log: string) {}

	async next(ms: number): Promise<number[]> {
		for (const until = Date.now() + ms; Date.now() < until; await sleep(50)) {
			const text = readFileSync(this.log, "latin1");
			const lines = text.slice(0, text.lastIndexOf("\n") + 1).match(/^@ .*$/gm) ?? [];
			if (lines.length <= this.#seen) continue;
			this.#seen = lines.length;
			return lines.at(-1)!.slice(2).trim().split(" ").map(Number);
		}
		throw new Error(`the guest tells nothing for ${ms / 1000} s: ${readFileSync(this.log, "latin1").slice(-300)}`);
	}
}

/** Resolves when the moment is taken and disks are being read. */
async function slowBackup(env: NodeJS.ProcessEnv): Promise<{ stop(): Promise<void> }> {
	const slow = ["pwrite", "pwritev"].map((op) => ({ op, path: env.SPRINGBACK_REPO, delayMs: SLOW_MS, count: -1 }));
	const child = spawn(process.execPath, [MAIN, "backup", VM, "--host", "lab", "--no-quiesce", "--quiet"], {
		env: { ...env, SPRINGBACK_FAULTS: JSON.stringify(slow) },
		stdio: ["ignore", "ignore", "pipe"],
	});
	const exit = once(child, "exit");
	let said = "";
	await new Promise<void>((resolve, reject) => {
		child.stderr.setEncoding("utf8").on("data", (text: string) => {
			said += text;
			if (/all of it is read/.test(said)) resolve();
		});
		void exit.then(() => reject(new Error(`the backup ended: ${said}`)));
	});
	return {
		async stop() {
			if (child.exitCode !== null) throw new Error(`the backup ended before it was stopped: ${said}`);
			child.kill("SIGINT");
			const [code] = await exit;
			if (code !== 130) throw new Error(`the backup ended with ${code}: ${said}`);
		},
	};
}

async function springback(args: string[], env: NodeJS.ProcessEnv): Promise<void> {
	const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ["ignore", "ignore", "inherit"] });
	const [code] = await once(child, "exit");
	if (code !== 0) throw new Error(`springback ${args.join(" ")}: exit ${code}`);
}
