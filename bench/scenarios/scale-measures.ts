/**
 * What is measured at one size of a repository. Everything through the command line or a published session, each command
 * a process of its own, whose memory is watched.
 */
import { cpSync, linkSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Opened } from "../data/open-point.js";
import { freshDirectory, remove } from "../data/places.js";
import type { MadePoint, SyntheticPlan } from "../data/synthetic-points.js";
import { anonymousBytes, type Watched, watched } from "../measure/memory.js";
import { median } from "../measure/statistics.js";
import { Springback } from "../peers/springback.js";

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const GENERATOR = fileURLToPath(new URL("../data/synthetic-points.js", import.meta.url));
const OPENER = fileURLToPath(new URL("../data/open-point.js", import.meta.url));
const LISTS = 7;
const OPENS = 5;
/** Of the restore points, the share that stays when most are forgotten. */
const KEPT = 0.1;
const PUBLISHES = 5;

/** Times in seconds, memory in bytes. */
export interface State {
	/** unique data blocks, and restore points, in the repository */
	blocks: number;
	points: number;
	/** `points`, beyond what `points --help` takes: reading and printing the list */
	list: number[];
	listCpu: number[];
	/** control request to ready: by a mount process that knows the repository not yet, and by one that does */
	publish: number[];
	publishAgain: number[];
	mountMemory: number;
	/** what `prune` would do, and marking alone; nothing is changed */
	plan: number;
	mark: number;
	planCpu: number;
	pages: number;
	liveRecords: number;
	pruneMemory: number;
	check: number;
	checkCpu: number;
	checkMemory: number;
	/** a process that opens the repository, the newest point and its disk, and reads one block; ms, and memory after a collection */
	open: number[];
	openMemory: number;
	openLive: number;
	/** where there are enough points: most of them are forgotten, in a copy */
	end?: End;
}

/** What the end of nine points of ten costs. */
export interface End extends PruneFigures {
	removed: number;
	/** seconds */
	forget: number;
	peak: number;
}

export class ScaleRepository {
	readonly springback: Springback;

	constructor(
		readonly directory: string,
		readonly vm: string,
		/** blocks that hold data when the disk is fully grown */
		readonly most: number,
	) {
		this.springback = new Springback(directory);
	}

	command(name: string, ...args: string[]): string[] {
		return [
			process.execPath,
			MAIN,
			name,
			"--repo",
			this.springback.repository,
			"--state",
			this.springback.state,
			...args,
		];
	}

	/** Makes restore points, in one process. */
	async grow(steps: SyntheticPlan["steps"]): Promise<{ made: MadePoint[]; peak: number; seconds: number }> {
		const plan: SyntheticPlan = { vm: this.vm, most: this.most, steps };
		const { stdout, peak, seconds } = await watched([
			...[process.execPath, GENERATOR, this.springback.repository, JSON.stringify(plan)],
		]);
		const made = stdout
			.trim()
			.split("\n")
			.map((line) => JSON.parse(line) as MadePoint);
		return { made, peak, seconds };
	}

	/** `blocks`: unique ones, as the generator counted them. */
	async state(blocks: number): Promise<State> {
		const listed = await this.#list();
		const publish = await this.#publish();
		const plan = await this.prune("--dry-run");
		const opened = await this.#open();
		const check = await this.check();
		const { faults } = JSON.parse(check.stdout) as { faults: unknown[] };
		if (faults.length > 0)
			throw new Error(`the generated repository has ${faults.length} faults: ${check.stdout.slice(0, 400)}`);
		return {
			...{ blocks, ...listed, ...publish, planCpu: plan.cpuSeconds, checkCpu: check.cpuSeconds },
			...{ plan: plan.report.seconds, mark: plan.report.markSeconds, pages: plan.report.pages },
			...{ liveRecords: plan.report.liveRecords, pruneMemory: plan.peak },
			...{ check: check.seconds, checkMemory: check.peak },
			...{ open: opened.map(({ repository, point, disk, read }) => repository + point + disk + read) },
			openMemory: median(opened.map(({ memory }) => memory)),
			openLive: median(opened.map(({ live }) => live)),
		};
	}

	async #open(): Promise<Opened[]> {
		const opened: Opened[] = [];
		for (let turn = 0; turn < OPENS; turn++) {
			const { stdout } = await watched([
				...[process.execPath, "--expose-gc", OPENER, this.springback.repository, this.vm],
			]);
			opened.push(JSON.parse(stdout) as Opened);
		}
		return opened;
	}

	/** Forgets most points of a copy, which is made of links: files of a repository are never changed. */
	async end(points: number): Promise<End> {
		const copy = new ScaleRepository(freshDirectory("scale-end"), this.vm, this.most);
		linkTree(this.springback.repository, copy.springback.repository);
		const keep = Math.max(1, Math.round(points * KEPT));
		const forgotten = await copy.forget("--keep-last", String(keep), "--force");
		const { removed } = JSON.parse(forgotten.stdout) as { removed: number };
		const { report, peak } = await copy.prune("--max-rewrite", "100%");
		const { faults } = JSON.parse((await copy.check()).stdout) as { faults: unknown[] };
		if (faults.length > 0) throw new Error(`after prune the repository has ${faults.length} faults`);
		remove(copy.directory);
		return { ...report, removed, forget: forgotten.seconds, peak };
	}

	async #list(): Promise<Pick<State, "points" | "list" | "listCpu">> {
		const list: number[] = [];
		const listCpu: number[] = [];
		let points = 0;
		for (let turn = 0; turn < LISTS; turn++) {
			const idle = await watched(this.command("points", "--help"));
			const listed = await watched(this.command("points", "--json"));
			list.push(listed.seconds - idle.seconds);
			listCpu.push(listed.cpuSeconds - idle.cpuSeconds);
			points = (JSON.parse(listed.stdout) as unknown[]).length;
		}
		return { list, listCpu, points };
	}

	/** Twice in one mount process, which is a new one. */
	async #publish(): Promise<Pick<State, "publish" | "publishAgain" | "mountMemory">> {
		const publish: number[] = [];
		const publishAgain: number[] = [];
		const memory: number[] = [];
		for (let turn = 0; turn < PUBLISHES; turn++) {
			const first = await this.springback.publish(this.vm, { portmap: false });
			const pid = await first.mountProcess();
			memory.push(anonymousBytes(pid));
			const again = await this.springback.publish(this.vm, { portmap: false });
			publish.push(first.ready.milliseconds / 1000);
			publishAgain.push(again.ready.milliseconds / 1000);
			await again.leave();
			await first.stop();
		}
		return { publish, publishAgain, mountMemory: median(memory) };
	}

	async prune(...options: string[]): Promise<{ report: PruneFigures; peak: number; cpuSeconds: number }> {
		const { stdout, peak, cpuSeconds } = await watched(this.command("prune", "--json", "--quiet", ...options));
		return { report: JSON.parse(stdout) as PruneFigures, peak, cpuSeconds };
	}

	forget(...options: string[]): Promise<Watched> {
		return watched(this.command("forget", "--json", "--quiet", ...options));
	}

	/** Fails when anything is wrong. */
	check(): Promise<Watched> {
		return watched(this.command("check", "--json", "--quiet"));
	}
}

/** Locks are not linked: what holds one in the copy must not hold it in the original. */
function linkTree(from: string, to: string): void {
	mkdirSync(to, { recursive: true });
	for (const entry of readdirSync(from, { withFileTypes: true })) {
		const [source, target] = [join(from, entry.name), join(to, entry.name)];
		if (entry.isDirectory() && entry.name === "locks") cpSync(source, target, { recursive: true });
		else if (entry.isDirectory()) linkTree(source, target);
		else linkSync(source, target);
	}
}

/** What `prune --json` says, as far as it is used here; docs/cli.md. */
export interface PruneFigures {
	liveRecords: number;
	pages: number;
	freed: number;
	rewritten: number;
	deleted: number;
	left: number;
	markSeconds: number;
	seconds: number;
}
