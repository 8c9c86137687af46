/**
 * For tests of `verify`: restore points of small guests, and everything of this machine that a run could leave. Use after
 * `enterNamespace` and `ownMachine`.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inventory, sh } from "../lab/wire.js";
import { filesOf } from "../repository/damage-lab.js";
import { type Run, Workspace } from "./workspace.js";

export interface VmDocument {
	vm: string;
	result: string;
	fault: string | null;
	summary: string;
	point: { id: string };
	disks: { name: string; identityBefore: string; identityAfter: string | null }[];
	timeline: { what: string; atMs: number; tookMs: number | null; detail: string | null }[];
	timeToServiceMs: number | null;
	readToBoot: number | null;
	readInAll: number | null;
	tests: { kind: string; name: string; result: string; message: string }[];
	screenshots: number;
	console: number;
	addresses: string[];
	generationId: string | null;
}

export interface Document {
	id: string;
	result: string;
	labMode: string;
	vms: VmDocument[];
	report: { html: string; json: string };
}

export class VerifyLab extends Workspace {
	/** One restore point of a disk. */
	async point(vm: string, disk: string, domain: string): Promise<string> {
		writeFileSync(this.path(`${vm}.xml`), domain);
		const { point } = await this.json<{ point: string }>([
			...["backup", vm, "--config", this.path(`${vm}.xml`), "--disk", disk],
		]);
		return point;
	}

	/** @param plan as YAML */
	async verify(
		plan: string,
		args: string[] = [],
	): Promise<{ run: Run; document: Document; of(vm: string): VmDocument }> {
		writeFileSync(this.path("plan.yaml"), plan);
		const run = await this.cli(["verify", "--plan", this.path("plan.yaml"), "--json", ...args]);
		if (run.stdout.trim() === "") throw new Error(`verify: exit ${run.code}: ${run.stderr}`);
		const document = JSON.parse(run.stdout) as Document;
		const of = (vm: string): VmDocument => document.vms.find((one) => one.vm === vm)!;
		return { run, document, of };
	}

	/** All that run in this test's own namespace of processes, but this process and the shell around it. */
	processes(): string[] {
		const ids = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && !["1", String(process.pid)].includes(name));
		return ids.flatMap((id) => {
			try {
				const line = readFileSync(`/proc/${id}/cmdline`, "utf8").replaceAll("\0", " ").trim();
				// Ended, and not yet asked about by its parent.
				return line === "" ? [] : [line];
			} catch {
				return [];
			}
		});
	}

	/**
	 * What is on this machine: processes, devices, namespaces, tables, files of labs, VMs, sessions and runs. The mount
	 * process has a moment to end.
	 */
	async left(run: string): Promise<object> {
		const below = (folder: string): string[] => {
			const path = join(this.state, folder);
			return existsSync(path) ? (readdirSync(path, { recursive: true }) as string[]).sort() : [];
		};
		for (let tries = 0; tries < 50 && this.processes().length > 0; tries++) await sleep(100);
		return {
			...inventory(run),
			processes: this.processes(),
			...{ sessions: await this.sessions(), addresses: sh("ip", "-o", "addr"), rules: sh("nft", "list", "ruleset") },
			files: ["lab", "verify/runs", "verify/work", "sessions"].flatMap((folder) =>
				below(folder).map((name) => `${folder}/${name}`),
			),
		};
	}

	/** Hashes of the repository's files, by name: all but reports and settings, which note the run. */
	stored(): Record<string, string> {
		const names = filesOf(this.repository).filter((name) => !/^(reports|settings)\//.test(name));
		return Object.fromEntries(names.map((name) => [name, hashOf(join(this.repository, name))]));
	}
}

export const hashOf = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");
