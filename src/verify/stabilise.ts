/** Waits until a guest counts as booted, and notes what it shows on the way. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { PowerState } from "../hypervisor/index.js";
import { kernelSpoke, type Trouble, troubleIn } from "./boot-signs.js";
import type { Stabilise } from "./model.js";
import type { Timeline } from "./timeline.js";
import type { Counts } from "./world.js";

/** What is looked at. Nothing of it rejects: what cannot be had is empty. */
export interface Watched {
	heartbeat(): Promise<boolean>;
	addresses(): Promise<string[]>;
	console(): Promise<string>;
	screenshot(): Promise<Buffer | undefined>;
	counts(): Promise<Counts | undefined>;
	/** false when the guest has powered itself off, or QEMU is gone */
	state(): Promise<PowerState>;
}

export interface Stable {
	stable: boolean;
	/** one line: by what it is stable, or what it waited for */
	message: string;
	/** what the console says is wrong */
	trouble: Trouble | undefined;
}

const POLL_MS = 250;
/** "auto", of a guest with an address: its console was quiet for so long; of one without: its disks, too, for so long. */
const QUIET_WITH_ADDRESS_MS = 3_000;
const QUIET_ALONE_MS = 20_000;
/** Pictures are only looked at where there is no console, and not at every poll. */
const PICTURE_EVERY_MS = 2_000;
/** The host is asked about all its VMs for it. */
const RUNNING_EVERY_MS = 1_000;

export const stabilise = async (
	wanted: Stabilise,
	watched: Watched,
	timeline: Timeline,
	signal: AbortSignal,
): Promise<Stable> => {
	const until = timeline.elapsed() + wanted.timeoutMs;
	const quiet = new Quiet(timeline, watched);
	const idle = new Idle(timeline);
	const agentOf = new Agent(watched);
	let askedWhetherOn = timeline.elapsed();
	const done = (message: string): Stable => ({ stable: true, message, trouble: undefined });
	for (;;) {
		signal.throwIfAborted();
		const agent = agentOf.answers();
		const [shown, console, counts] = await Promise.all([watched.addresses(), watched.console(), watched.counts()]);
		if (agent) timeline.note("agent");
		if (console !== "") timeline.note("console");
		if (kernelSpoke(console)) timeline.note("kernel");
		noteReads(timeline, counts);
		const addresses = counts === undefined || beganToBoot(timeline) ? shown : [];
		if (addresses.length > 0) timeline.note("address", addresses.join(", "));
		const quietMs = await quiet.look(console);
		const idleMs = idle.look(counts?.bytesRead);
		const trouble = troubleIn(console);
		// It may be a word in passing: who goes on talking has not stopped there.
		if (trouble !== undefined && quietMs >= QUIET_WITH_ADDRESS_MS)
			return { stable: false, message: trouble.message, trouble };
		if (timeline.elapsed() - askedWhetherOn >= RUNNING_EVERY_MS) {
			askedWhetherOn = timeline.elapsed();
			const state = await watched.state();
			if (state === "off") return { stable: false, message: "the VM is off", trouble };
			// Nobody else pauses a VM in a lab: so hosts do where a disk does not answer.
			if (state === "paused") return { stable: false, message: "the VM was stopped by an error of its disks", trouble };
		}
		const by = satisfied(wanted, {
			agent,
			addresses,
			console,
			...{ quietMs, idleMs },
			sincePowerOn: timeline.elapsed() - (timeline.at("power-on") ?? 0),
		});
		if (by !== undefined) return done(by);
		if (timeline.elapsed() > until) return { stable: false, message: missing(wanted), trouble };
		await sleep(POLL_MS, undefined, { signal });
	}
};

/** Firmware that finds nothing to boot from asks the network, and gets an address, too: it is none of the guest's. */
export const beganToBoot = (timeline: Timeline): boolean =>
	["boot-loader", "kernel", "agent"].some((what) => timeline.at(what) !== undefined);

const noteReads = (timeline: Timeline, counts: Counts | undefined): void => {
	if (counts?.firstRead) timeline.note("first-read", null, { atMs: timeline.ofTime(counts.firstRead) });
	if (counts?.firstReadBeyondSector)
		timeline.note("boot-loader", "first read beyond the first sector", {
			atMs: timeline.ofTime(counts.firstReadBeyondSector),
		});
};

interface Seen {
	agent: boolean;
	addresses: string[];
	console: string;
	quietMs: number;
	/** for how long it has read nothing from its disks, ms */
	idleMs: number;
	sincePowerOn: number;
}

/** By what it is stable; undefined: it is not yet. */
const satisfied = (
	wanted: Stabilise,
	{ agent, addresses, console, quietMs, idleMs, sincePowerOn }: Seen,
): string | undefined => {
	switch (wanted.by) {
		case "agent":
			return agent ? "its agent answers" : undefined;
		case "address":
			return addresses.length > 0 ? `it has the address ${addresses[0]}` : undefined;
		case "console":
			return quietMs >= wanted.quietMs ? `its console was quiet for ${wanted.quietMs} ms` : undefined;
		case "output":
			return new RegExp(wanted.match, "m").test(console) ? `its console said what was waited for` : undefined;
		case "time":
			return sincePowerOn >= wanted.waitMs ? `${wanted.waitMs} ms have passed` : undefined;
		case "auto":
			if (agent) return "its agent answers";
			if (addresses.length > 0 && quietMs >= QUIET_WITH_ADDRESS_MS)
				return `it has the address ${addresses[0]}, and its console is quiet`;
			return Math.min(quietMs, idleMs) >= QUIET_ALONE_MS ? "its console and its disks are quiet" : undefined;
	}
};

const missing = (wanted: Stabilise): string => {
	const within = `within ${Math.round(wanted.timeoutMs / 1000)} s`;
	switch (wanted.by) {
		case "agent":
			return `its agent did not answer ${within}`;
		case "address":
			return `it had no address ${within}`;
		case "output":
			return `its console did not say /${wanted.match}/ ${within}`;
		default:
			return `it did not come to rest ${within}`;
	}
};

/** One question at a time, and nobody waits for the answer: of a guest without an agent it takes seconds. */
class Agent {
	#answers = false;
	#asking = false;

	constructor(private readonly watched: Watched) {}

	answers(): boolean {
		if (!this.#answers && !this.#asking) {
			this.#asking = true;
			void this.watched.heartbeat().then((answer) => {
				this.#answers ||= answer;
				this.#asking = false;
			});
		}
		return this.#answers;
	}
}

/** For how long nothing was read. */
class Idle {
	#bytes = 0;
	#since: number;

	constructor(private readonly timeline: Timeline) {
		this.#since = timeline.elapsed();
	}

	/** ms */
	look(bytes = this.#bytes): number {
		const now = this.timeline.elapsed();
		if (bytes !== this.#bytes) this.#since = now;
		this.#bytes = bytes;
		return now - this.#since;
	}
}

/** For how long console or, where there is none, picture did not change. */
class Quiet {
	#last = "";
	#since: number;
	#looked = -PICTURE_EVERY_MS;
	readonly #pictures = new Set<string>();

	constructor(
		private readonly timeline: Timeline,
		private readonly watched: Watched,
	) {
		this.#since = timeline.elapsed();
	}

	/** ms */
	async look(console: string): Promise<number> {
		const now = this.timeline.elapsed();
		if (console === "" && now - this.#looked >= PICTURE_EVERY_MS) {
			this.#looked = now;
			const png = await this.watched.screenshot();
			if (png !== undefined) this.#show(createHash("sha256").update(png).digest("hex"), now);
		}
		if (console !== "" && console !== this.#last) this.#since = now;
		this.#last = console;
		return now - this.#since;
	}

	/** A cursor that blinks gives pictures that were there before: they do not count as new. */
	#show(picture: string, now: number): void {
		if (!this.#pictures.has(picture)) this.#since = now;
		this.#pictures.add(picture);
	}
}
