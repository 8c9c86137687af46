/** The guest's file systems at rest for a moment: bounded, and always undone. */
import { setTimeout as sleep } from "node:timers/promises";
import { causeOf, HypervisorError } from "../errors.js";
import { type Rest, withApplications } from "../vss.js";
import { agentOf, askAgent } from "./agent.js";
import type { Domain } from "./domain.js";

const PING_MS = 3_000;
const THAW_MS = 10_000;

export type { Rest };

const crash = (why: string): Rest => ({ consistency: "crash", why, frozenMs: 0 });

/** Does `work` while the guest rests, or without when it does not come to rest in time; that guest is in `owed`. */
export const atRest = async (
	domain: Domain,
	ms: number,
	work: () => Promise<void>,
): Promise<{ rest: Rest; owed: OwedThaw | null }> => {
	try {
		await askAgent(domain, "guest-ping", {}, PING_MS);
	} catch (error) {
		await work();
		return { rest: crash(causeOf(error)), owed: null };
	}
	let owed: OwedThaw | null = null;
	const rest = await withApplications(agentOf(domain), domain.name, async () => {
		const frozen = await whileFrozen(domain, ms, work);
		owed = frozen.owed;
		return frozen.rest;
	});
	return { rest, owed };
};

const whileFrozen = async (
	domain: Domain,
	ms: number,
	work: () => Promise<void>,
): Promise<{ rest: Rest; owed: OwedThaw | null }> => {
	const began = Date.now();
	let count: number;
	try {
		count = Number(await askAgent<number>(domain, "guest-fsfreeze-freeze", {}, ms));
	} catch (error) {
		const owed = new OwedThaw(domain);
		await work().catch(async (failure) => {
			await owed.end();
			throw failure;
		});
		return { rest: crash(`the guest could not be frozen within ${ms} ms: ${causeOf(error)}`), owed };
	}
	let thawed = 0;
	try {
		await work();
	} finally {
		thawed = await thaw(domain);
	}
	if (count === 0) return { rest: crash("the guest froze no file system"), owed: null };
	if (thawed === 0) return { rest: crash("the guest ended its rest by itself before the snapshot"), owed: null };
	return { rest: { consistency: "filesystem", why: null, frozenMs: Date.now() - began }, owed: null };
};

/** Rejects with FAILED when the guest cannot be told: somebody must look. */
const thaw = async (domain: Domain): Promise<number> => {
	for (let tries = 0; ; tries++) {
		try {
			return await tryThaw(domain, THAW_MS);
		} catch (error) {
			if (tries === 2)
				throw new HypervisorError(
					"FAILED",
					`VM ${domain.name}: its file systems may still be frozen: ${causeOf(error)}: run "fsfreeze -u" in the guest, or reset it`,
				);
		}
	}
};

/** Number of file systems that were frozen. */
export const tryThaw = async (domain: Domain, ms: number): Promise<number> =>
	Number(await askAgent<number>(domain, "guest-fsfreeze-thaw", {}, ms));

/** A guest whose agent hung when it was to freeze: it may still do it when it wakes up, so it is asked until it thaws. */
export class OwedThaw {
	readonly #stop = new AbortController();
	readonly #asking: Promise<boolean>;

	constructor(private readonly domain: Domain) {
		this.#asking = this.#ask();
	}

	async #ask(): Promise<boolean> {
		while (!this.#stop.signal.aborted) {
			try {
				await tryThaw(this.domain, 2_000);
				return true;
			} catch {
				await sleep(500, undefined, { signal: this.#stop.signal }).catch(() => {});
			}
		}
		return false;
	}

	/** Asks no more. False: the guest may still be frozen. */
	async end(): Promise<boolean> {
		this.#stop.abort();
		return this.#asking;
	}
}
