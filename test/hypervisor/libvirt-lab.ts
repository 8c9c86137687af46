/** A `libvirt` host of one's own (scripts/lab/libvirt.ts), with tiny VMs that have a shell on their console. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tinyGuest } from "../../scripts/lab/guests.js";
import { type LibvirtDisk, Libvirtd } from "../../scripts/lab/libvirt.js";
import { LibvirtHost } from "../../src/hypervisor/libvirt/host.js";
import { consoleShell, qemuImg, TINY_APPEND, tinyInitrd } from "./qemu-lab.js";

/** The kernel of the tiny guest is started without a boot loader that Secure Boot would know. */
const PLAIN_UEFI = '<firmware><feature enabled="no" name="secure-boot"/></firmware>';

export class LibvirtLab extends Libvirtd {
	readonly uri = "qemu:///system";
	readonly #hosts: LibvirtHost[] = [];

	/** Guests are emulated wherever the tests run. */
	static async start(): Promise<LibvirtLab> {
		const lab = new LibvirtLab(mkdtempSync("/tmp/sb-"));
		await lab.start();
		return lab;
	}

	host(): LibvirtHost {
		const host = new LibvirtHost(this.uri);
		this.#hosts.push(host);
		return host;
	}

	/** A tiny VM that is off, with a shell on its console. */
	tiny(name: string, uuid: string, disks: LibvirtDisk[], { devices = "", uefi = false } = {}): void {
		const folder = this.path(name);
		mkdirSync(folder);
		const chown = spawnSync("chown", ["libvirt-qemu", folder], { encoding: "utf8" });
		if (chown.status !== 0) throw new Error(chown.stderr);
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
		await this.stop();
		rmSync(this.folder, { recursive: true, force: true });
	}
}
