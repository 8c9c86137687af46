/** A `qemu` host in a folder of its own, with tiny VMs that have a shell on their console. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cpio } from "../../scripts/lab/cpio.js";
import { tinyGuest } from "../../scripts/lab/guests.js";
import { QemuHost } from "../../src/hypervisor/qemu/host.js";

/** Takes the place of the guest's own /init: no network, a shell on the first serial port. */
const INIT = `#!/bin/busybox sh
busybox mkdir -p /proc /sys /dev /tmp
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox --install -s
while read -r module; do insmod "$module" 2>/dev/null; done </modules.order
# Kept open: closing a terminal drops what was sent to it.
exec 3<>/dev/ttyS0
stty -F /dev/ttyS0 raw -echo
echo "guest is up" >&3
while true; do
	IFS= read -r line <&3 && eval "$line" </dev/null >&3 2>&1
done
`;

/** Its initramfs with a shell on the first serial port. */
export const tinyInitrd = (): Buffer =>
	Buffer.concat([readFileSync(tinyGuest().initrd), cpio([{ name: "init", content: INIT, mode: 0o755 }])]);

export const TINY_APPEND = "console=ttyS1 quiet panic=-1 mitigations=off";

export class QemuLab {
	/** short: sockets lie below it */
	readonly folder = mkdtempSync("/tmp/sb-");
	readonly uri = `qemu://${this.folder}`;
	readonly #hosts: QemuHost[] = [];

	host(): QemuHost {
		const host = new QemuHost(this.uri);
		this.#hosts.push(host);
		return host;
	}

	path(...parts: string[]): string {
		return join(this.folder, ...parts);
	}

	/** A tiny VM that is off, with virtio disks of these formats and sizes. */
	tiny(name: string, disks: { format: "raw" | "qcow2"; size: number }[], uuid: string): void {
		mkdirSync(this.path(name));
		const guest = tinyGuest();
		writeFileSync(this.path(name, "initrd"), tinyInitrd());
		const sources = disks.map(({ format, size }, n) => {
			const file = `disk${n}.${format}`;
			qemuImg("create", "-q", "-f", format, this.path(name, file), String(size));
			return [`disk${n}`, { source: file, format }] as const;
		});
		this.define(name, uuid, Object.fromEntries(sources), {
			kernel: { image: guest.kernel, initrd: "initrd", append: TINY_APPEND },
		});
	}

	define(name: string, uuid: string, disks: Record<string, object>, more: object = {}, moreConfig: object = {}): void {
		mkdirSync(this.path(name), { recursive: true });
		const config = {
			version: 1,
			name,
			uuid,
			memoryMiB: 192,
			cpus: 1,
			firmware: "bios",
			disks: Object.keys(disks).map((disk, unit) => ({ bus: "virtio", controller: 0, unit, name: disk })),
			...moreConfig,
		};
		writeFileSync(
			this.path(name, "vm.json"),
			JSON.stringify({ version: 1, acceleration: "tcg", config, disks, ...more }),
		);
	}

	/** Runs a command in a tiny guest; rejects when it fails there. */
	shell(name: string, command: string, ms = 60_000): Promise<string> {
		return consoleShell(this.path(name), command, ms);
	}

	/** pid of the VM's process, by its command line; undefined when there is none. */
	pid(name: string): number | undefined {
		const socket = this.path(name, "qmp.sock");
		const found = readdirSync("/proc").find((entry) => {
			try {
				return /^\d+$/.test(entry) && readFileSync(`/proc/${entry}/cmdline`, "latin1").includes(`path=${socket},`);
			} catch {
				return false;
			}
		});
		return found === undefined ? undefined : Number(found);
	}

	async close(): Promise<void> {
		for (const host of this.#hosts) await host.close().catch(() => {});
		const host = new QemuHost(this.uri);
		await host.cleanUp().catch(() => {});
		for (const { name, state } of await host.list().catch(() => []))
			if (state !== "off") await host.power(name, "off").catch(() => {});
		rmSync(this.folder, { recursive: true, force: true });
	}
}

export function qemuImg(...args: string[]): string {
	const { status, stdout, stderr } = spawnSync("qemu-img", args, { encoding: "utf8" });
	if (status !== 0) throw new Error(`qemu-img ${args.join(" ")}: ${stderr}`);
	return stdout;
}

/** Runs a command in the tiny guest whose console is in this folder; rejects when it fails there. */
export async function consoleShell(folder: string, command: string, ms = 60_000): Promise<string> {
	const mark = `done-${Math.random().toString(36).slice(2)}`;
	const until = Date.now() + ms;
	// Also waits until the guest is up: what is sent before that is lost.
	while (!readFileSync(join(folder, "console.log"), "latin1").includes("guest is up")) {
		if (Date.now() > until) throw new Error(`the guest in ${folder} does not come up`);
		await sleep(50);
	}
	return new Promise((resolve, reject) => {
		const socket = connect(join(folder, "console.sock"));
		let text = "";
		const timer = setTimeout(() => end(new Error(`${command}: still runs; ${text}`)), ms);
		const end = (outcome: Error | string) => {
			clearTimeout(timer);
			socket.destroy();
			if (outcome instanceof Error) reject(outcome);
			else resolve(outcome);
		};
		socket.on("error", end);
		socket.setEncoding("latin1").on("data", (piece) => {
			text += piece;
			const match = new RegExp(`([^]*)${mark}=(\\d+)\\n`).exec(text);
			if (match === null) return;
			end(match[2] === "0" ? match[1] : new Error(`${command}: exit ${match[2]}: ${match[1]}`));
		});
		socket.write(`(${command}); echo "${mark}=$?"\n`);
	});
}
