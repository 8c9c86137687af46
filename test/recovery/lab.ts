/**
 * A repository with restore points of the writer guest, and a `qemu` host to recover it to. Use inside `enterNamespace`:
 * there every port is free, and guests cannot stay.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { checkWriter, fillDisk, writerDisk } from "../../scripts/lab/writer.js";
import { QemuHost } from "../../src/hypervisor/qemu/host.js";
import { MAIN, must, Workspace } from "../e2e/workspace.js";

export const MIB = 2 ** 20;
export const UUID = "aaaaaaaa-1111-2222-3333-444444444444";
export const MAC = "52:54:00:aa:bb:cc";

export interface Report {
	session: string;
	vm: string;
	point: string;
	host: string;
	name: string;
	id: string;
	continued: boolean;
	connected: boolean;
	identity?: string;
	times: { powerOn: number | null; signOfLife: number | null; service: number | null };
	findings: { what: string; level: string; message: string }[];
	replaced: { name: string } | null;
}

export interface Migrated {
	verified: boolean;
	to: string;
	disks: { disk: string; verified: boolean; compared: number; sha256: string; pausedMs: number; different: number }[];
	seconds: number;
}

export class RecoveryLab extends Workspace {
	readonly host = new QemuHost(`qemu://${this.path("vms")}`);

	/** @param sizes of further disks, MiB, with content */
	async prepare(size = 24, more: number[] = []): Promise<string> {
		await this.init();
		mkdirSync(this.path("vms"));
		mkdirSync(this.path("storage"));
		await this.json(["hosts", "add", "lab", "qemu", this.host.uri]);
		writerDisk(this.path("web.raw"), size * MIB);
		const filler = (seed: number) => (at: number) => Buffer.alloc(MIB, `${seed}-${at}-`);
		fillDisk(this.path("web.raw"), 8 * MIB, size * MIB, filler(0));
		more.forEach((mib, n) => {
			writeFileSync(this.path(`more${n}.raw`), "");
			fillDisk(this.path(`more${n}.raw`), 0, mib * MIB, filler(n + 1));
		});
		writeFileSync(this.path("web.xml"), domain(more.length));
		const sources = [this.path("web.raw"), ...more.map((_, n) => this.path(`more${n}.raw`))];
		const { point } = await this.json<{ point: string }>([
			...["backup", "web", "--config", this.path("web.xml")],
			...sources.flatMap((source) => ["--disk", source]),
		]);
		return point;
	}

	/** Recovers; there is no agent in the writer, so a short wait and a warning. */
	async recover(...args: string[]): Promise<Report> {
		return this.json([
			"recover",
			"web",
			"--host",
			"lab",
			"--original-gone",
			"--wait",
			"100ms",
			"--protect",
			"off",
			...args,
		]);
	}

	/** What the guest has said: "U....". */
	said(name: string): string {
		try {
			return readFileSync(this.path("vms", name, "console.log"), "latin1").replace(/[^U.E]/g, "");
		} catch {
			return "";
		}
	}

	/** Until the guest has said `count` more dots; it must never have seen an error. */
	async works(name: string, count = 3, ms = 60_000): Promise<void> {
		const before = dots(this.said(name));
		const until = Date.now() + ms;
		while (dots(this.said(name)) < before + count) {
			if (Date.now() > until) throw new Error(`the guest ${name} does not write: ${this.said(name)}`);
			await sleep(50);
		}
		if (this.said(name).includes("E")) throw new Error(`the guest ${name} saw an error: ${this.said(name)}`);
	}

	async stateOf(id: string): Promise<string | undefined> {
		return (await this.host.list()).find((vm) => vm.id === id)?.state;
	}

	/** Runs the command line and kills it with SIGKILL when `when` resolves to true. Resolves with whether it was killed. */
	async killed(args: string[], when: () => boolean | Promise<boolean>): Promise<boolean> {
		const child = spawn("env", ["-u", "NODE_OPTIONS", process.execPath, MAIN, ...args], {
			env: this.env(),
			stdio: "ignore",
		});
		const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
		let over = false;
		void ended.then(() => {
			over = true;
		});
		while (!over) {
			if (await when()) {
				child.kill("SIGKILL");
				await ended;
				return child.signalCode === "SIGKILL";
			}
			await sleep(2);
		}
		return false;
	}

	/** What a disk holds, checked: the writer's count. */
	async count(uri: string, format = "raw"): Promise<number> {
		const copy = this.path("checked.raw");
		await must("qemu-img", ["convert", "-U", "-f", format, "-O", "raw", uri, copy]);
		return checkWriter(readFileSync(copy));
	}

	override async close(): Promise<void> {
		for (const { name, state } of await this.host.list().catch(() => []))
			if (state !== "off") await this.host.power(name, "off").catch(() => {});
		await this.host.close();
		await super.close();
	}
}

const dots = (said: string): number => said.split(".").length - 1;

const domain = (more: number): string => `<domain type='kvm'>
	<name>web</name><uuid>${UUID}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>
	<os><type>hvm</type></os>
	<devices>
		${Array.from({ length: more + 1 }, (_, n) => `<disk type='file'><source file='/x/${n}'/><target dev='vd${"abcd"[n]}' bus='virtio'/></disk>`).join("\n")}
		<interface type='network'><mac address='${MAC}'/><source network='lan'/><model type='virtio'/></interface>
	</devices>
</domain>`;
