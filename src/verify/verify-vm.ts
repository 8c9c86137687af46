/**
 * One restore point, verified: served, booted in the lab, tested, looked at, and, once nobody needs it any more, taken
 * away. Whatever fails becomes part of the report.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Hypervisor } from "../hypervisor/index.js";
import type { Lab } from "../lab/contract.js";
import { type BlocksReport, checkBlocks } from "./check-blocks.js";
import { diagnose } from "./diagnose.js";
import { causeOf, endOf } from "./errors.js";
import { type Guest, Machine } from "./machine.js";
import type { TestReport, VmReport, VmResult } from "./model.js";
import type { RunNotes } from "./notes.js";
import { beganToBoot, type Stable, stabilise, type Watched } from "./stabilise.js";
import { testContext } from "./test-context.js";
import type { TestContext, TestSpec } from "./tests/contract.js";
import { plain } from "./tests/text.js";
import { Timeline } from "./timeline.js";
import type { Counts, VerifyWorld } from "./world.js";

const CONSOLE_KEPT = 256 * 1024;
/** Each look for addresses is two processes: as often as the lab itself looks. */
const ADDRESSES_EVERY_MS = 1_000;

export interface InLab {
	guest: Guest;
	group: string;
	host: Hypervisor;
	lab: Lab;
	notes: RunNotes;
	world: VerifyWorld;
	/** resolves when no other VM of the group needs this one any more */
	needed: () => Promise<void>;
	/** fires when the run is over: by a person, its time, or a failure that stops it */
	signal: AbortSignal;
}

/** Never rejects. `settled` is called with the report as soon as the verdict is known, before the VM may end. */
export const verifyVm = async (at: InLab, settled: (passed: boolean) => void): Promise<VmReport> => {
	const { guest, group, world } = at;
	const { plan, point } = guest;
	const timeline = new Timeline(world.now());
	const over = AbortSignal.any([at.signal, AbortSignal.timeout(plan.timeoutMs)]);
	const run = new VmRun(at, timeline, over);
	world.event({ what: "started", vm: plan.vm, point: point.id, time: point.time });
	await run.go();
	const report: VmReport = {
		...{ vm: plan.vm, group, role: plan.role, point: { id: point.id, time: point.time } },
		disks: point.disks.map(({ name, size, identity }) => ({
			...{ name, size, identityBefore: identity ?? "zeros", identityAfter: null },
		})),
		...run.verdict(),
		started: timeline.began.toISOString(),
		ended: "",
		timeline: [],
		timeToServiceMs: run.timeToService(),
		...{ readToBoot: run.readToBoot, readInAll: run.readInAll, tests: run.tests, screenshots: run.screenshots },
		...{ console: printableLines(run.console), addresses: run.addresses, generationId: run.generation },
	};
	settled(report.result === "passed" || report.result === "warning");
	await at.needed();
	await run.end(report);
	report.ended = world.now().toISOString();
	report.timeline = timeline.entries;
	const after = await world.repository.resolve(`${point.vm}@${point.id}`).catch(() => undefined);
	for (const disk of report.disks) {
		const now = after?.disks.find(({ name }) => name === disk.name);
		disk.identityAfter = now === undefined ? null : (now.identity ?? "zeros");
	}
	world.event({ what: "done", vm: plan.vm, result: report.result, summary: report.summary });
	return report;
};

class VmRun {
	readonly tests: TestReport[] = [];
	readonly screenshots: VmReport["screenshots"] = [];
	console = "";
	addresses: string[] = [];
	generation: string | null = null;
	readToBoot: number | null = null;
	readInAll: number | null = null;
	readonly #machine: Machine;
	readonly #directory: string;
	#counts: Counts | undefined;
	#stable: Stable | undefined;
	#blocks: BlocksReport | undefined;
	#bootSector: Buffer | undefined;
	#broken: string | undefined;
	#on = false;

	constructor(
		private readonly at: InLab,
		private readonly timeline: Timeline,
		private readonly over: AbortSignal,
	) {
		const { guest, host, notes, world } = at;
		this.#machine = new Machine(guest, host, notes, world);
		this.#directory = join(world.directory, guest.session);
	}

	/** All up to the verdict. Never rejects. */
	async go(): Promise<void> {
		const { guest, world } = this.at;
		try {
			mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
			await this.#boot();
			// Services that must pass first: how long one takes to come up says nothing once something else was waited for.
			const place = ({ kind, optional }: TestSpec): number => (optional ? 2 : kind === "boot" ? 1 : 0);
			const online = guest.plan.tests
				.filter((spec) => world.kindOf(spec.kind)?.offline !== true)
				.sort((a, b) => place(a) - place(b));
			const ready = this.#stable?.stable === true;
			for (const spec of online)
				if (ready || spec.kind === "boot") await this.#test(spec);
				else this.#skip(spec, "the guest did not boot");
		} catch (error) {
			if (!this.over.aborted) this.#broken = causeOf(error);
		}
		await this.#look();
		try {
			for (const spec of guest.plan.tests) if (world.kindOf(spec.kind)?.offline === true) await this.#test(spec);
			await this.#searchFaults();
		} catch (error) {
			if (!this.over.aborted) this.#broken ??= causeOf(error);
		}
		for (const spec of guest.plan.tests)
			if (!this.tests.some(({ name }) => name === spec.name)) this.#skip(spec, "was not reached");
	}

	async #boot(): Promise<void> {
		const { guest, lab, host, world } = this.at;
		const machine = this.#machine;
		const step = (step: string): void => world.event({ what: "step", vm: guest.plan.vm, step });
		this.over.throwIfAborted();
		step("publish");
		await this.timeline.during("publish", () => machine.publish());
		await this.timeline.during("register", () => machine.register(lab.networks(guest.guest.name)));
		this.over.throwIfAborted();
		step("power-on");
		// Noted before: a guest may read before the call returns.
		this.timeline.note("power-on");
		this.#on = true;
		await machine.powerOn();
		this.generation = (await host.generation?.(machine.id)) ?? null;
		step("boot");
		this.#stable = await stabilise(guest.plan.stabilise, this.#watched(), this.timeline, this.over);
		this.#counts = await world.serving.counts(guest.session);
		this.readToBoot = this.#counts?.bytesRead ?? null;
		if (!this.#stable.stable) return;
		this.timeline.note("stable", this.#stable.message);
		await this.#picture("stable");
	}

	#watched(): Watched {
		const { guest, host, world } = this.at;
		const { id } = this.#machine;
		let looked = -ADDRESSES_EVERY_MS;
		return {
			heartbeat: () => host.heartbeat(id).catch(() => false),
			addresses: async () => {
				if (performance.now() - looked < ADDRESSES_EVERY_MS) return this.addresses;
				looked = performance.now();
				return this.#addresses();
			},
			console: async () => (await host.console?.(id).catch(() => "")) ?? "",
			screenshot: () => host.screenshot(id).catch(() => undefined),
			counts: () => world.serving.counts(guest.session).catch(() => undefined),
			state: async () => {
				const vm = (await host.list()).find((one) => one.id === id || one.name === guest.name);
				// One with a problem is listed as off, and may only be busy.
				return vm === undefined ? "off" : vm.problem !== null ? "running" : vm.state;
			},
		};
	}

	/** What the lab has seen, and what the agent says. */
	async #addresses(): Promise<string[]> {
		const { guest, lab, host } = this.at;
		const seen = await lab.addresses(guest.guest.name).catch(() => []);
		if (seen.length === 0 && this.timeline.at("agent") !== undefined)
			for (const address of await host.addresses(this.#machine.id).catch(() => []))
				if (!address.includes(":")) lab.learn(guest.guest.name, address);
		this.addresses = seen.length > 0 ? seen : await lab.addresses(guest.guest.name).catch(() => []);
		return this.addresses;
	}

	async #test(spec: TestSpec): Promise<void> {
		const { guest, world } = this.at;
		const context = this.#context(spec);
		mkdirSync(context.directory, { recursive: true, mode: 0o700 });
		world.event({ what: "step", vm: guest.plan.vm, step: spec.name });
		const report = await world.runTest(spec, context, this.timeline.elapsed);
		this.tests.push(report);
		this.timeline.note(`test:${report.name}`, report.message, { atMs: report.startedMs, tookMs: report.tookMs });
		world.event({ what: "test", vm: guest.plan.vm, test: report });
	}

	#skip({ kind, name }: TestSpec, message: string): void {
		const nothing = { output: "", attempts: 0, startedMs: this.timeline.elapsed(), tookMs: 0, value: null };
		this.tests.push({ kind, name, result: "skipped", message, ...nothing });
	}

	#context(spec: TestSpec): TestContext {
		const { guest, lab, host, world } = this.at;
		return testContext({
			...{ guest, lab, host, world, spec, id: this.#machine.id, signal: this.over },
			directory: join(this.#directory, `test-${this.tests.length}`),
			addresses: () => this.#addresses(),
			diskUri: (disk) => this.#machine.pointUri(disk),
			checked: (blocks) => {
				this.#blocks = blocks;
			},
		});
	}

	/** What is there to be seen at the end, while it still runs. */
	async #look(): Promise<void> {
		if (!this.#on) return;
		const { guest, host, world } = this.at;
		const failed = this.#broken !== undefined || this.#stable?.stable !== true || this.#anyFailed;
		await this.#picture(failed ? "failure" : "end");
		this.console = (await host.console?.(this.#machine.id).catch(() => "")) ?? "";
		this.#counts = (await world.serving.counts(guest.session).catch(() => undefined)) ?? this.#counts;
		this.readInAll = this.#counts?.bytesRead ?? null;
		// One that was known by its agent first may have been asked, too.
		if ((await this.#addresses()).length > 0 && beganToBoot(this.timeline))
			this.timeline.note("address", this.addresses.join(", "));
	}

	async #picture(when: VmReport["screenshots"][number]["when"]): Promise<void> {
		const png = await this.at.host.screenshot(this.#machine.id).catch(() => undefined);
		if (png !== undefined) this.screenshots.push({ when, png: png.toString("base64") });
	}

	get #anyFailed(): boolean {
		return this.tests.some(({ result }) => result === "failed");
	}

	/** A VM that failed: whether its data is whole, and whether it could have booted, tells which fault it is. */
	async #searchFaults(): Promise<void> {
		const { guest, world } = this.at;
		if (this.#stable?.stable === true && !this.#anyFailed && this.#broken === undefined) return;
		if (this.over.aborted) return;
		const [first] = guest.config.disks;
		if (first !== undefined) this.#bootSector = await this.#firstSector(first.name!).catch(() => undefined);
		if (this.#blocks !== undefined) return;
		world.event({ what: "step", vm: guest.plan.vm, step: "reading all blocks, because it failed" });
		this.#blocks = await this.timeline.during(
			"checksum",
			() => checkBlocks(world.repository, guest.point, () => undefined, this.over),
			({ bytes, damaged }) => `${bytes} bytes read, ${damaged.length} damaged blocks`,
		);
	}

	async #firstSector(disk: string): Promise<Buffer> {
		const image = await this.at.world.repository.openDisk(this.at.guest.point, disk);
		try {
			const sector = Buffer.alloc(512);
			await image.read(0, sector);
			return sector;
		} finally {
			await image.close();
		}
	}

	verdict(): Pick<VmReport, "result" | "fault" | "summary"> {
		if (this.at.signal.aborted) return { result: "cancelled", fault: null, summary: endOf(this.at.signal) };
		const seen = {
			...{ broken: this.#broken, stable: this.#stable, console: this.console, timeline: this.timeline.entries },
			...{ tests: this.tests, blocks: this.#blocks, bootSector: this.#bootSector },
			...{ firmware: this.at.guest.config.firmware, failedReads: this.#counts?.failures ?? 0 },
		};
		const found = diagnose(seen);
		if (found !== undefined) return { result: "failed", ...found };
		// Its own time ran out before it was stable.
		if (this.over.aborted)
			return {
				result: "failed",
				fault: "hang",
				summary: `it was not done within ${Math.round(this.at.guest.plan.timeoutMs / 1000)} s`,
			};
		const warned = this.tests.filter(({ result }) => result === "warning");
		if (warned.length > 0)
			return { result: "warning", fault: null, summary: `${warned[0].name}: ${warned[0].message}` };
		const passed = this.tests.filter(({ result }) => result === "passed").length;
		return {
			result: "passed",
			fault: null,
			summary: `boots, and passed ${passed === 1 ? "its test" : `all ${passed} tests`}`,
		};
	}

	timeToService(): number | null {
		const on = this.timeline.at("power-on");
		if (on === undefined || this.#stable?.stable !== true) return null;
		if (this.#anyFailed) return null;
		const required = new Set(this.at.guest.plan.tests.filter(({ optional }) => !optional).map(({ name }) => name));
		const served = this.tests.filter(({ kind, name }) => SERVICES.has(kind) && required.has(name));
		const ends = served.map(({ startedMs, tookMs }) => startedMs + tookMs);
		return Math.max(this.timeline.at("stable") ?? on, ...ends) - on;
	}

	/** Takes everything away. What cannot be is said, and stays noted for the next run. */
	async end(report: VmReport): Promise<void> {
		const { world, guest } = this.at;
		try {
			await this.#machine.end();
			if (this.#on) this.timeline.note("power-off");
		} catch (error) {
			world.say(`warning: ${guest.plan.vm}: cannot be taken away yet, the next run does it: ${causeOf(error)}`);
			report.summary += `; what it needed could not be taken away: ${causeOf(error)}`;
		}
		rmSync(this.#directory, { recursive: true, force: true });
	}
}

/** Kinds whose passing means that the VM serves somebody. */
const SERVICES = new Set([
	"tcp",
	"http",
	"tls",
	"sql",
	"dns",
	"smtp",
	"ldap",
	"smb",
	"script",
	"command",
	"agent",
	"ping",
]);

const printableLines = (text: string): string => plain(text.slice(-CONSOLE_KEPT));

/** That of a whole run: the worst of its VMs'; one that was skipped is not proven. */
export const resultOf = (results: VmResult[]): "passed" | "failed" | "warning" | "cancelled" => {
	if (results.includes("cancelled")) return "cancelled";
	if (results.includes("failed") || results.includes("skipped")) return "failed";
	return results.includes("warning") ? "warning" : "passed";
};
