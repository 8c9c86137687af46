/** The hosts on which the kvm flow can run: a libvirtd of its own, or QEMU without a daemon. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Hypervisor } from "../../src/hypervisor/index.js";
import { LibvirtHost } from "../../src/hypervisor/libvirt/host.js";
import { QemuHost } from "../../src/hypervisor/qemu/host.js";
import { acceleration } from "../lab/acceleration.js";
import { LIBVIRT_URI, Libvirtd } from "../lab/libvirt.js";

export const NAME = "shop";
export const ID = "5ca1ab1e-0000-4000-8000-000000000001";
const MAC = "52:54:00:5c:a1:ab";
const MEMORY_MIB = 384;

export interface DemoHost {
	type: "libvirt" | "qemu";
	uri: string;
	driver: Hypervisor;
	/** directory for everything that is made, as the host's QEMU can reach it */
	work: string;
	/** A VM that is off, with a copy of the image as its disk. */
	define(image: string): void;
	/** Takes the VM, which is off, from the host, with its disk. */
	destroy(): void;
	/** Where the VM's disks are, in the host's own words. */
	disks(): string;
}

/** QEMU's user may not pass to the demo's directory, but to this one, which only the namespace has. */
const REACHED = "/run/springback-demo";

/** @param made directory for everything that is made */
export async function startHost(type: string, made: string): Promise<DemoHost> {
	if (type === "qemu") return qemuHost(made);
	if (type === "libvirt") return libvirtHost(made);
	throw new Error(`no such host: ${type}`);
}

async function libvirtHost(made: string): Promise<DemoHost> {
	if (!/^\s*0\s+0\s+4294967295/.test(readFileSync("/proc/self/uid_map", "utf8")))
		throw new Error("libvirtd changes to another user for QEMU: run it as root, or with --host qemu");
	mkdirSync(join(made, "libvirt"));
	const mode = await acceleration();
	const libvirtd = new Libvirtd(join(made, "libvirt"));
	await libvirtd.start({ kvm: mode === "kvm" });
	mkdirSync(REACHED);
	execFileSync("mount", ["--bind", made, REACHED]);
	const disk = join(REACHED, `${NAME}.qcow2`);
	return {
		...{ type: "libvirt", uri: LIBVIRT_URI, driver: new LibvirtHost(LIBVIRT_URI), work: REACHED },
		define(image) {
			execFileSync("qemu-img", ["convert", "-O", "qcow2", image, disk]);
			const type = mode === "kvm" ? "kvm" : "qemu";
			const devices = `<interface type="user"><mac address="${MAC}"/><model type="virtio"/></interface>`;
			libvirtd.define(NAME, ID, [{ target: "vda", format: "qcow2", file: disk }], {
				type,
				devices,
				memory: MEMORY_MIB,
			});
		},
		destroy() {
			libvirtd.virsh("undefine", ID, "--checkpoints-metadata");
			rmSync(disk);
		},
		disks: () => libvirtd.virsh("domblklist", ID),
	};
}

function qemuHost(made: string): DemoHost {
	const vms = join(made, "vms");
	mkdirSync(vms);
	const folder = join(vms, NAME);
	const uri = `qemu://${vms}`;
	return {
		...{ type: "qemu", uri, driver: new QemuHost(uri), work: made },
		define(image) {
			mkdirSync(folder);
			const backing = ["-F", "raw", "-b", image];
			execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", ...backing, join(folder, "disk0.qcow2")]);
			const config = {
				...{ version: 1, name: NAME, uuid: ID, memoryMiB: MEMORY_MIB, cpus: 1, firmware: "bios" },
				disks: [{ bus: "virtio", controller: 0, unit: 0, name: "disk0" }],
				nics: [{ mac: MAC, model: "virtio", network: "user", connected: true }],
			};
			const disks = { disk0: { source: "disk0.qcow2", format: "qcow2" } };
			writeFileSync(join(folder, "vm.json"), JSON.stringify({ version: 1, config, disks }));
		},
		destroy: () => rmSync(folder, { recursive: true }),
		disks: () => JSON.stringify(JSON.parse(readFileSync(join(folder, "vm.json"), "utf8")).disks),
	};
}
