/**
 * A host, labs and a mount process that are only remembered: what is there, what happens in which order, and what fails
 * when. With a real repository and real notes. For tests of order, limits and ends, which no guest is needed for.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "tap";
import type { HostVm, Hypervisor, PowerState, RegisterRequest } from "../../src/hypervisor/index.js";
import type { Lab, LabRequest } from "../../src/lab/contract.js";
import type { Repository } from "../../src/repository/index.js";
import {
	type GroupPlan,
	Notes,
	type VerificationPlan,
	type VerifyEvent,
	type VerifyWorld,
} from "../../src/verify/index.js";
import type { VmPlan } from "../../src/verify/model.js";
import { kindOf, runTest } from "../../src/verify/tests/index.js";
import { BLOCK, fresh, MemoryImage, memoryFolder, request } from "../repository/helpers.js";

/** What happens to a VM, in this order. */
export const PHASES = ["publish", "lab", "register", "on", "test", "off", "unregister", "drop", "lab-close"] as const;
export type Phase = (typeof PHASES)[number];

export interface VmFacts {
	memoryMiB?: number;
	cpus?: number;
	uuid?: string | null;
	/** restore points, oldest first: minutes from the start of time */
	points?: number[];
}

/** The VM in the name that a run gives its VMs and sessions. */
const stemOf = (name: string): string => name.replace(/-verify-.*$/, "");

export class Fake {
	/** "on web", … in the order in which it happened */
	readonly log: string[] = [];
	readonly events: VerifyEvent[] = [];
	readonly said: string[] = [];
	readonly sessions = new Map<string, string>();
	readonly vms = new Map<string, { request: RegisterRequest; state: PowerState }>();
	readonly labs = new Set<string>();
	readonly cancel = new AbortController();
	/** called in every phase; what it throws is what fails */
	hook: (phase: Phase, vm: string) => unknown = () => undefined;
	/** false: the VM's test fails */
	passes: (vm: string) => boolean = () => true;
	/** called whenever the VMs that are on change */
	looked: () => void = () => {};
	known = new Set<string>();
	random = (limit: number) => limit - 1;
	now = () => new Date(Date.UTC(2026, 11, 1));

	private constructor(
		readonly repository: Repository,
		readonly directory: string,
	) {}

	static async with(t: Test, vms: Record<string, VmFacts>): Promise<Fake> {
		const repository = await fresh(t);
		for (const [vm, { memoryMiB = 64, cpus = 1, uuid = null, points = [0] }] of Object.entries(vms))
			for (const minute of points) {
				const config = {
					version: 1,
					name: vm,
					uuid,
					memoryMiB,
					cpus,
					firmware: "bios",
					disks: [{ name: "disk0", bus: "virtio" }],
				};
				const disk = new MemoryImage(Buffer.alloc(BLOCK, `${vm}${minute}`));
				await repository.backup(request(vm, disk, minute, { config }));
			}
		const directory = memoryFolder(t);
		return new Fake(repository, directory);
	}

	async #do(phase: Phase, vm: string): Promise<void> {
		this.log.push(`${phase} ${vm}`);
		await this.hook(phase, vm);
	}

	#nameOf(id: string): string {
		return [...this.vms].find(([, { request }]) => request.config.uuid === id)![0];
	}

	/** Whether it happened. */
	did(phase: Phase, vm: string): boolean {
		return this.log.includes(`${phase} ${vm}`);
	}

	get on(): RegisterRequest[] {
		return [...this.vms.values()].filter(({ state }) => state !== "off").map(({ request }) => request);
	}

	get left(): number {
		return this.sessions.size + this.vms.size + this.labs.size + this.notes.left().length;
	}

	get notes(): Notes {
		return new Notes(join(this.directory, "runs"));
	}

	readonly host = {
		type: "qemu",
		list: async () =>
			[...this.vms].map(
				([name, { request, state }]) => ({ id: request.config.uuid, name, state, problem: null }) as HostVm,
			),
		register: async (request: RegisterRequest) => {
			await this.#do("register", stemOf(request.name));
			const { uuid } = request.config;
			if ([...this.vms.values()].some((vm) => vm.request.config.uuid === uuid)) throw new Error("is here already");
			this.vms.set(request.name, { request, state: "off" });
			return uuid!;
		},
		power: async (id: string, action: "on" | "off") => {
			const name = this.#nameOf(id);
			await this.#do(action, stemOf(name));
			this.vms.get(name)!.state = action === "on" ? "running" : "off";
			this.looked();
		},
		unregister: async (id: string) => {
			const name = this.#nameOf(id);
			await this.#do("unregister", stemOf(name));
			this.vms.delete(name);
		},
		heartbeat: async () => false,
		addresses: async () => [],
		screenshot: async () => Buffer.from("png"),
		console: async () => "Linux version 6\nlogin: ",
	} as unknown as Hypervisor;

	async #openLab({ id, guests }: LabRequest): Promise<Lab> {
		const vms = guests.map(({ name }) => name).join("+");
		await this.#do("lab", vms);
		this.labs.add(id);
		return {
			...{ id, mode: "namespace", networks: () => ({}), addresses: async () => [], learn: () => {} },
			...{ reach: async () => undefined, endpoint: async () => undefined },
			close: async () => {
				await this.#do("lab-close", vms);
				this.labs.delete(id);
			},
		};
	}

	get world(): VerifyWorld {
		mkdirSync(this.directory, { recursive: true });
		return {
			repository: this.repository,
			host: { name: "fake", type: "qemu", uri: "qemu:///", open: async () => this.host },
			serving: {
				publish: async (session, spec) => {
					const vm = spec.replace(/@.*$/, "");
					this.sessions.set(session, vm);
					await this.#do("publish", vm);
					return { disks: [{ disk: "disk0", uris: ["nbd+unix:///x?socket=/s"] }] };
				},
				counts: async () => ({ bytesRead: 512, failures: 0, firstRead: null, firstReadBeyondSector: null }),
				drop: async (session) => {
					const vm = this.sessions.get(session);
					if (vm === undefined) return;
					await this.#do("drop", vm);
					this.sessions.delete(session);
				},
			},
			openLab: (request) => this.#openLab(request),
			cleanLabs: async (_, alive) =>
				[...this.labs].filter((id) => !alive(id) && this.labs.delete(id)).map((id) => `lab ${id}`),
			kindOf: (kind) => kindOf(kind),
			runTest: async (spec, context, elapsed) => {
				await this.#do("test", context.vm);
				const report = await runTest(spec, context, elapsed);
				return this.passes(context.vm) ? report : { ...report, result: "failed", message: "no", fault: "service" };
			},
			...{ notes: this.notes, directory: join(this.directory, "work"), verified: async () => this.known },
			...{ random: (limit: number) => this.random(limit), now: () => this.now() },
			...{
				say: (line: string) => void this.said.push(line),
				event: (event: VerifyEvent) => void this.events.push(event),
			},
			signal: this.cancel.signal,
			by: { user: "me", machine: "here", command: "verify" },
			...{ springback: "0", repositoryPath: "repo" },
		};
	}
}

/** One test that a guest passes with its console alone. */
const BOOTS = {
	...{ kind: "boot", name: "boot", timeoutMs: 5_000, retries: 0, retryMs: 0, optional: false },
	options: { quietMs: 0, expect: "login" },
};

export const vmPlan = (vm: string, more: Partial<VmPlan> = {}): VmPlan => ({
	...{ vm, after: [], role: null, points: { which: "latest" }, memoryMiB: null, cpus: null },
	...{ stabilise: { by: "time", waitMs: 0, timeoutMs: 10_000 }, timeoutMs: 60_000, tests: [BOOTS], addresses: {} },
	...more,
});

export const groupPlan = (name: string, vms: VmPlan[]): GroupPlan => ({ name, networks: [], vms });

export const planOf = (groups: GroupPlan[], more: Partial<VerificationPlan> = {}): VerificationPlan => ({
	...{ version: 1, name: "plan", host: null, onFailure: "continue", groups, webhook: null },
	limits: { parallel: 4, cpus: 8, memoryMiB: 4096, timeoutMs: 60_000 },
	...more,
});

export const pause = (ms: number): Promise<void> => sleep(ms);
