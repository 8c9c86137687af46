/** The guest's file systems at rest for a moment: bounded, and always undone. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Snapshot } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { askAgent } from "./agent.js";
import type { Domain } from "./domain.js";

const PING_MS = 3_000;
const THAW_MS = 10_000;

export type Rest = Pick<Snapshot, "consistency" | "why" | "frozenMs">;

/** Does `work` while the guest rests, or without when it does not come to rest in time; that guest is in `owed`. */
export const atRest = async (
	domain: Domain,
	ms: number,
	work: () => Promise<void>,
): Promise<{ rest: Rest; owed: OwedThaw | null }> => {
	const crash = (why: string): Rest => ({ consistency: "crash", why, frozenMs: 0 });
	try {
		await askAgent(domain, "guest-ping", {}, PING_MS);
	} catch (error) {
		await work();
		return { rest: crash(causeOf(error)), owed: null };
	}
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
