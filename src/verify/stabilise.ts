/** Waits until a guest counts as booted, and notes what it shows on the way. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
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
	/** "off" when the guest has powered itself off, or QEMU is gone */
	running(): Promise<boolean>;
}

export interface Stable {
	stable: boolean;
	/** one line: by what it is stable, or what it waited for */
	message: string;
	/** what the console says is wrong */
	trouble: Trouble | undefined;
}

const POLL_MS = 250;
/** "auto", of a guest with an address: its console was quiet for so long; of one without: for so long. */
const QUIET_WITH_ADDRESS_MS = 3_000;
const QUIET_ALONE_MS = 15_000;
/** Pictures are only looked at where there is no console, and not at every poll. */
const PICTURE_EVERY_MS = 2_000;

export const stabilise = async (
	wanted: Stabilise,
	watched: Watched,
	timeline: Timeline,
	signal: AbortSignal,
): Promise<Stable> => {
	const until = timeline.elapsed() + wanted.timeoutMs;
	const quiet = new Quiet(timeline, watched);
	const done = (message: string): Stable => ({ stable: true, message, trouble: undefined });
	for (;;) {
		signal.throwIfAborted();
		const [agent, addresses, console] = await Promise.all([
			timeline.at("agent") === undefined ? watched.heartbeat() : true,
			watched.addresses(),
			watched.console(),
		]);
		if (agent) timeline.note("agent");
		if (addresses.length > 0) timeline.note("address", addresses.join(", "));
		if (console !== "") timeline.note("console");
		if (kernelSpoke(console)) timeline.note("kernel");
		noteReads(timeline, await watched.counts());
		const quietMs = await quiet.look(console);
		const trouble = troubleIn(console);
		if (trouble?.final) return { stable: false, message: trouble.message, trouble };
		if (!(await watched.running())) return { stable: false, message: "the VM is off", trouble };
		const by = satisfied(wanted, {
			agent,
			addresses,
			console,
			quietMs,
			sincePowerOn: timeline.elapsed() - (timeline.at("power-on") ?? 0),
		});
		if (by !== undefined) return done(by);
		if (timeline.elapsed() > until) return { stable: false, message: missing(wanted), trouble };
		await sleep(POLL_MS, undefined, { signal });
	}
};

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
	sincePowerOn: number;
}

/** By what it is stable; undefined: it is not yet. */
const satisfied = (
	wanted: Stabilise,
	{ agent, addresses, console, quietMs, sincePowerOn }: Seen,
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
			return quietMs >= QUIET_ALONE_MS ? "its console is quiet" : undefined;
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

/** For how long console or, where there is none, picture did not change. */
class Quiet {
	#last = "";
	#since: number;
	#looked = -PICTURE_EVERY_MS;
	#picture = "";

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
			this.#picture = png === undefined ? "" : createHash("sha256").update(png).digest("hex");
		}
		const shown = console === "" ? this.#picture : `${console.length} ${console.slice(-4096)}`;
		if (shown !== this.#last) {
			this.#last = shown;
			this.#since = now;
		}
		return now - this.#since;
	}
}
