/**
 * libvirtd and virtlogd of one's own, started by hand as root. Use inside `enterNamespace` (namespace.ts): their folders
 * hide those of the system there, and everything ends with it.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
	appendFileSync,
	chmodSync,
	closeSync,
	copyFileSync,
	existsSync,
	mkdirSync,
	openSync,
	readFileSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Hidden by folders of the lab. */
const PLACES = ["/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"];
/** Debian's package libvirt-daemon-system makes these. */
const USER = "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n";
const GROUPS = "libvirt-qemu:x:64055:\n";
const SOCKET = "/run/libvirt/libvirt-sock";

/** For `hosts add NAME libvirt`. */
export const LIBVIRT_URI = `qemu+unix:///system?socket=${SOCKET}`;

export interface LibvirtDisk {
	target: string;
	format: "raw" | "qcow2";
	file: string;
}

export interface LibvirtVm {
	/** XML of further devices */
	devices?: string;
	/** XML; default: a BIOS on a PC */
	os?: string;
	/** MiB, default 384 */
	memory?: number;
	/** XML of further features */
	features?: string;
	/** default: emulated */
	type?: "kvm" | "qemu";
}

export class Libvirtd {
	readonly #daemons: ChildProcess[] = [];

	/** @param folder for everything that is made. QEMU's user must be able to pass. */
	constructor(readonly folder: string) {}

	/** @param kvm false: guests are emulated wherever this runs */
	async start({ kvm = false } = {}): Promise<void> {
		chmodSync(this.folder, 0o755);
		run("mount", "-t", "tmpfs", "tmpfs", "/run");
		for (const place of PLACES) {
			mkdirSync(place, { recursive: true });
			mkdirSync(this.path(`own${place}`), { recursive: true });
			run("mount", "--bind", this.path(`own${place}`), place);
		}
		mkdirSync(this.path("own/etc"), { recursive: true });
		for (const [file, lines] of [
			["/etc/passwd", USER],
			["/etc/group", GROUPS + (/^kvm:/m.test(readFileSync("/etc/group", "utf8")) ? "" : "kvm:x:64056:\n")],
		]) {
			if (readFileSync(file, "utf8").includes("libvirt-qemu:")) continue;
			copyFileSync(file, this.path(`own${file}`));
			appendFileSync(this.path(`own${file}`), lines);
			run("mount", "--bind", this.path(`own${file}`), file);
		}
		// A file that QEMU's user can open would have libvirt ask QEMU each time.
		writeFileSync(this.path("no-kvm"), "", { mode: 0o600 });
		if (!kvm && existsSync("/dev/kvm")) run("mount", "--bind", this.path("no-kvm"), "/dev/kvm");
		mkdirSync("/run/libvirt");
		writeFileSync("/etc/libvirt/virtlogd.conf", "");
		writeFileSync("/etc/libvirt/libvirtd.conf", 'auth_unix_rw = "none"\n');
		// Neither is to be had in every container.
		writeFileSync("/etc/libvirt/qemu.conf", "cgroup_controllers = []\nnamespaces = []\n");
		await this.startDaemons();
	}

	async startDaemons(): Promise<void> {
		for (const [name, socket] of [
			["virtlogd", "/run/libvirt/virtlogd-sock"],
			["libvirtd", SOCKET],
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

	path(...parts: string[]): string {
		return join(this.folder, ...parts);
	}

	virsh(...args: string[]): string {
		return run("virsh", "-q", "-c", LIBVIRT_URI, ...args);
	}

	define(
		name: string,
		uuid: string,
		disks: LibvirtDisk[],
		{ devices = "", os = "", memory = 384, features = "", type = "qemu" }: LibvirtVm = {},
	): void {
		const lines = disks.map(
			({ target, format, file }) =>
				`<disk type="file" device="disk"><driver name="qemu" type="${format}"/><source file="${file}"/><target dev="${target}" bus="${target.startsWith("v") ? "virtio" : "scsi"}"/></disk>`,
		);
		writeFileSync(
			this.path(`${name}.xml`),
			`<domain type="${type}"><name>${name}</name><uuid>${uuid}</uuid><memory unit="MiB">${memory}</memory><vcpu>1</vcpu>
			${os === "" ? '<os><type arch="x86_64" machine="pc">hvm</type></os>' : os}<features><acpi/>${features}</features>
			<devices>${lines.join("")}
			<channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
			<video><model type="vga"/></video>${devices}</devices></domain>`,
		);
		this.virsh("define", this.path(`${name}.xml`));
	}

	/** Its VMs with it. */
	async stop(): Promise<void> {
		const listed = spawnSync("virsh", ["-q", "-c", LIBVIRT_URI, "list", "--uuid"], { encoding: "utf8" });
		for (const id of listed.stdout.split("\n"))
			if (id !== "") spawnSync("virsh", ["-q", "-c", LIBVIRT_URI, "destroy", id]);
		for (const daemon of this.#daemons.reverse()) {
			daemon.kill("SIGTERM");
			if (daemon.exitCode === null) await new Promise((resolve) => daemon.once("exit", resolve));
		}
		for (const place of PLACES) run("umount", place);
	}
}

function run(program: string, ...args: string[]): string {
	const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8" });
	if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? stderr}`);
	return stdout;
}
