/**
 * libvirtd and virtlogd of one's own, started by hand as root. The test file runs in a mount, process and network
 * namespace (scripts/lab/namespace.ts), so that their folders hide those of the system, and everything ends with it.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
	appendFileSync,
	chmodSync,
	closeSync,
	copyFileSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	openSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { tinyGuest } from "../../scripts/lab/guests.js";
import { LibvirtHost } from "../../src/hypervisor/libvirt/host.js";
import { consoleShell, qemuImg, TINY_APPEND, tinyInitrd } from "./qemu-lab.js";

/** Hidden by folders of the lab. */
const PLACES = ["/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"];
/** Debian's package libvirt-daemon-system makes these. */
const USER = "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n";
const GROUPS = "libvirt-qemu:x:64055:\n";

/** The kernel of the tiny guest is started without a boot loader that Secure Boot would know. */
const PLAIN_UEFI = '<firmware><feature enabled="no" name="secure-boot"/></firmware>';

export interface LibvirtDisk {
	target: string;
	format: "raw" | "qcow2";
	file: string;
}

export class LibvirtLab {
	/** QEMU's user may pass */
	readonly folder = mkdtempSync("/tmp/sb-");
	readonly uri = "qemu:///system";
	readonly #hosts: LibvirtHost[] = [];
	readonly #daemons: ChildProcess[] = [];

	static async start(): Promise<LibvirtLab> {
		const lab = new LibvirtLab();
		chmodSync(lab.folder, 0o755);
		run("mount", "-t", "tmpfs", "tmpfs", "/run");
		for (const place of PLACES) {
			mkdirSync(place, { recursive: true });
			mkdirSync(lab.path(`own${place}`), { recursive: true });
			run("mount", "--bind", lab.path(`own${place}`), place);
		}
		for (const [file, lines] of [
			["/etc/passwd", USER],
			["/etc/group", GROUPS + (/^kvm:/m.test(readFileSync("/etc/group", "utf8")) ? "" : "kvm:x:64056:\n")],
		]) {
			if (readFileSync(file, "utf8").includes("libvirt-qemu:")) continue;
			copyFileSync(file, lab.path(`own${file}`));
			appendFileSync(lab.path(`own${file}`), lines);
			run("mount", "--bind", lab.path(`own${file}`), file);
		}
		// Guests are emulated wherever the tests run. A file that QEMU's user can open would have libvirt ask QEMU each time.
		writeFileSync(lab.path("no-kvm"), "", { mode: 0o600 });
		if (existsSync("/dev/kvm")) run("mount", "--bind", lab.path("no-kvm"), "/dev/kvm");
		mkdirSync("/run/libvirt");
		writeFileSync("/etc/libvirt/virtlogd.conf", "");
		writeFileSync("/etc/libvirt/libvirtd.conf", 'auth_unix_rw = "none"\n');
		// Neither is to be had in every container.
		writeFileSync("/etc/libvirt/qemu.conf", "cgroup_controllers = []\nnamespaces = []\n");
		await lab.startDaemons();
		return lab;
	}

	async startDaemons(): Promise<void> {
		for (const [name, socket] of [
			["virtlogd", "/run/libvirt/virtlogd-sock"],
			["libvirtd", "/run/libvirt/libvirt-sock"],
		]) {
			const log = openSync(this.path(`${name}.log`), "a");
			this.#daemons.push(spawn(`/usr/sbin/${name}`, [], { stdio: ["ignore", log, log] }));
			closeSync(log);
			for (let waited = 0; !existsSync(socket); waited += 50) {
				if (waited > 20_000) throw new Error(`${name}: ${readFileSync(this.path(`${name}.log`), "utf8")}`);
				await sleep(50);
			}
		}
	}

	host(): LibvirtHost {
		const host = new LibvirtHost(this.uri);
		this.#hosts.push(host);
		return host;
	}

	path(...parts: string[]): string {
		return join(this.folder, ...parts);
	}

	virsh(...args: string[]): string {
		return run("virsh", "-q", "-c", this.uri, ...args);
	}

	/** Defines a VM of emulated processors; `devices` and `os` are XML. */
	define(
		name: string,
		uuid: string,
		disks: LibvirtDisk[],
		{ devices = "", os = "", memory = 384, features = "" } = {},
	): void {
		const lines = disks.map(
			({ target, format, file }) =>
				`<disk type="file" device="disk"><driver name="qemu" type="${format}"/><source file="${file}"/><target dev="${target}" bus="${target.startsWith("v") ? "virtio" : "scsi"}"/></disk>`,
		);
		writeFileSync(
			this.path(`${name}.xml`),
			`<domain type="qemu"><name>${name}</name><uuid>${uuid}</uuid><memory unit="MiB">${memory}</memory><vcpu>1</vcpu>
			${os === "" ? '<os><type arch="x86_64" machine="pc">hvm</type></os>' : os}<features><acpi/>${features}</features>
			<devices>${lines.join("")}
			<channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
			<video><model type="vga"/></video>${devices}</devices></domain>`,
		);
		this.virsh("define", this.path(`${name}.xml`));
	}

	/** A tiny VM that is off, with a shell on its console. */
	tiny(name: string, uuid: string, disks: LibvirtDisk[], { devices = "", uefi = false } = {}): void {
		const folder = this.path(name);
		mkdirSync(folder);
		run("chown", "libvirt-qemu", folder);
		writeFileSync(join(folder, "initrd"), tinyInitrd());
		copyFileSync(tinyGuest().kernel, join(folder, "vmlinuz"));
		const os = `<os${uefi ? ' firmware="efi"' : ""}><type arch="x86_64" machine="${uefi ? "q35" : "pc"}">hvm</type>${uefi ? PLAIN_UEFI : ""}<kernel>${folder}/vmlinuz</kernel><initrd>${folder}/initrd</initrd><cmdline>${TINY_APPEND}</cmdline></os>`;
		const console = `<serial type="unix"><source mode="bind" path="${folder}/console.sock"/><log file="${folder}/console.log"/><target port="0"/></serial>`;
		this.define(name, uuid, disks, { os, devices: console + devices, memory: uefi ? 256 : 192 });
	}

	/** Runs a command in a tiny guest; rejects when it fails there. */
	shell(name: string, command: string, ms?: number): Promise<string> {
		return consoleShell(this.path(name), command, ms);
	}

	image(file: string, format: "raw" | "qcow2", bytes: number): string {
		qemuImg("create", "-q", "-f", format, this.path(file), String(bytes));
		return this.path(file);
	}

	async close(): Promise<void> {
		for (const host of this.#hosts) await host.close().catch(() => {});
		for (const id of spawnSync("virsh", ["-q", "-c", this.uri, "list", "--uuid"], { encoding: "utf8" }).stdout.split(
			"\n",
		))
			if (id !== "") spawnSync("virsh", ["-q", "-c", this.uri, "destroy", id]);
		for (const daemon of this.#daemons.reverse()) {
			daemon.kill("SIGTERM");
			if (daemon.exitCode === null) await new Promise((resolve) => daemon.once("exit", resolve));
		}
		for (const place of PLACES) run("umount", place);
		rmSync(this.folder, { recursive: true, force: true });
	}
}

function run(program: string, ...args: string[]): string {
	const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
	if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? stderr}`);
	return stdout;
}
