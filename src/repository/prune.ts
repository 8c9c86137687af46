/**
 * Gives space back, top to bottom (docs/format.md, 10.3): mark, condemn what is dead, copy what is live out of packs that are
 * mostly dead or small and condemn these too, delete what no backup can count on any more. Killed anywhere, the next run goes on.
 */
import { availableParallelism } from "node:os";
import { createLane } from "../../native/index.js";
import { runningBackups, startOfBackups } from "./backup-locks.js";
import { type Condemned, condemnedPacks, readCondemned, removeCondemned } from "./condemned.js";
import { type PruneOptions, type PruneReport, RepositoryError } from "./contract.js";
import { storeError } from "./errors.js";
import { Index } from "./index-set.js";
import { LOCK_BYTE, packName } from "./layout.js";
import { takeLock, waitForLock } from "./locks.js";
import { Marker } from "./marker.js";
import { presentPacks } from "./pack-inventory.js";
import { PackSeals } from "./pack-seals.js";
import type { PointStore, StoredPoint } from "./points.js";
import { completeLists, condemn } from "./prune-condemn.js";
import { KeptPlaces } from "./prune-kept.js";
import { type Plan, planPrune } from "./prune-plan.js";
import { rewritePacks, roundsOf } from "./prune-rewrite.js";
import { settlePack } from "./prune-settle.js";
import { type PackFacts, surveyPacks } from "./prune-survey.js";
import { RecordReader } from "./record-reader.js";
import type { Held, Store } from "./store.js";
import type { WriteContext } from "./write-context.js";

export interface PruneContext extends WriteContext {
	index: Index;
	points: PointStore;
}

/** Share of all record bytes that a run copies at most, unless told otherwise; and that many bytes it may always copy. */
const DEFAULT_REWRITE_SHARE = 0.1;
const DEFAULT_REWRITE_BYTES = 1024 ** 3;

export const runPrune = async (options: PruneOptions, context: PruneContext): Promise<PruneReport> => {
	const { store } = context;
	const locks: Held[] = [];
	try {
		if (!options.dryRun) await takeLocks(store, locks);
		return await new Prune(options, context, locks).run();
	} catch (error) {
		throw storeError(error, store.place, "pruning");
	} finally {
		for (const lock of locks) lock.release();
	}
};

/** One prune at a time; none beside a check, and none beside a backup of release 0.1, which knows nothing of condemned packs. */
const takeLocks = async (store: Store, locks: Held[]): Promise<void> => {
	const take = async (byte: number, holder: string) =>
		locks.push(await takeLock(store, byte, "exclusive", { holder, doing: "prune" }));
	await take(LOCK_BYTE.prune, "another prune, a check or a repair");
	await take(LOCK_BYTE.use, "a repair, a rebuild or a backup of release 0.1");
};

class Prune {
	readonly #started = performance.now();
	readonly #index: Index;
	readonly #marker: Marker;
	#marked = 0;
	#freed = 0;
	#rewritten = 0;
	#deleted = 0;
	/** pack files that went in this run */
	readonly #gone = new Set<string>();
	#released = 0;
	#damaged: string[] = [];
	/** lists whose packs are settled: removed at the end */
	#settled: Condemned[] = [];

	constructor(
		readonly options: PruneOptions,
		readonly context: PruneContext,
		readonly locks: Held[],
	) {
		const { store, keyring, random, index, blockSize } = context;
		this.#index = options.dryRun ? new Index(store, keyring, random, { write: false }) : index;
		this.#marker = new Marker(new RecordReader(store, this.#index), this.#index, blockSize);
	}

	async run(): Promise<PruneReport> {
		const { store } = this.context;
		const { dryRun } = this.options;
		if (!dryRun) await store.sweep();
		await this.#index.refresh();
		await this.#index.adopt();
		// Nobody else merges from here on: a merge keeps one place for each record, and must not choose one that goes.
		const merging = { holder: "a merge of the index, or a rebuild,", doing: "prune", signal: this.options.signal };
		if (!dryRun) this.locks.push(await waitForLock(store, LOCK_BYTE.merge, "exclusive", merging));
		await this.#index.refresh();
		let lists = await readCondemned(store);
		if (!dryRun) lists = await completeLists(this.context, lists);
		const points = await this.#mark();

		const condemned = condemnedPacks(lists);
		const young = dryRun ? Number.POSITIVE_INFINITY : await startOfBackups(store);
		const ids: string[] = [];
		for (const id of await presentPacks(store))
			if (!condemned.has(id) && !(await isYounger(store, id, young))) ids.push(id);
		const kept = new KeptPlaces(this.#index);
		const survey = await surveyPacks(ids, this.#marker.live, {
			store,
			keyring: this.context.keyring,
			signal: this.options.signal,
			progress: (done, total) => this.options.progress?.({ done, total, what: "packs" }),
			kept: dryRun ? undefined : (...place) => kept.add(...place),
		});
		await kept.put();
		this.#damaged = survey.damaged;
		const total = survey.packs.reduce((sum, facts) => sum + facts.total, 0);
		const plan = planPrune(survey, this.#bound(total));
		if (!dryRun) lists = await this.#carryOut(plan, lists);
		const seconds = Math.round(performance.now() - this.#started) / 1000;
		const waiting = lists.filter((list) => !this.#settled.includes(list));
		return {
			dryRun: dryRun === true,
			points,
			liveRecords: this.#marker.live.count,
			pages: this.#marker.pages,
			packs: ids.length,
			dead: { packs: plan.dead.length, bytes: bytesOf(plan.dead) },
			rewrite: copied(plan.rewrite),
			merge: copied(plan.merge),
			freed: this.#freed,
			rewritten: this.#rewritten,
			deleted: this.#deleted,
			released: this.#released,
			waiting: { packs: condemnedPacks(waiting).size, backups: new Set(waiting.flatMap((l) => l.writers ?? [])).size },
			left: plan.left,
			damaged: this.#damaged,
			markSeconds: this.#marked,
			seconds,
		};
	}

	#bound(total: number): number {
		const { maxRewrite } = this.options;
		if (maxRewrite === undefined) return Math.max(total * DEFAULT_REWRITE_SHARE, DEFAULT_REWRITE_BYTES);
		return "share" in maxRewrite ? total * maxRewrite.share : maxRewrite.bytes;
	}

	#checkSignal(): void {
		if (this.options.signal?.aborted) throw new RepositoryError("INTERRUPTED", "prune was interrupted");
	}

	/** Marks the points that are new since the last time. Only then is known what later deletions may take. */
	async #mark(): Promise<number> {
		const { points } = this.context;
		const began = performance.now();
		points.forget();
		const all: StoredPoint[] = await points.list();
		for (const [id, why] of points.bad)
			throw new RepositoryError(
				"DAMAGED",
				`restore point ${id} is damaged (${why}), so nobody knows what it needs: restore points/${id} from a copy of the repository, or remove that file to give the point up`,
			);
		// After the points: what they need was in the index before they were.
		await this.#index.refresh();
		const progress = (done: number) => this.options.progress?.({ done, total: all.length, what: "restore points" });
		await this.#marker.mark(all, progress, this.options.signal);
		this.#marked += Math.round(performance.now() - began) / 1000;
		return all.length;
	}

	#condemn(packs: PackFacts[]): Promise<Condemned[]> {
		return condemn(
			this.context,
			packs.map(({ id }) => id),
			this.options.now(),
		);
	}

	/** Resolves with all lists that there are, settled or not. Readers find what moved: its new place is in the index first. */
	async #carryOut(plan: Plan, before: Condemned[]): Promise<Condemned[]> {
		const { store } = this.context;
		const lists = [...before];
		// Cut short or failed, what is deleted is still taken out of the index, and lists that are done go.
		try {
			lists.push(...(await this.#condemn(plan.dead)));
			await this.#settle(lists);
			for (const round of roundsOf([...plan.rewrite, ...plan.merge])) {
				lists.push(...(await this.#rewrite(round, condemnedPacks(lists))));
				await this.#settle(lists);
			}
		} finally {
			await this.#index.drop(this.#gone, condemnedPacks(lists));
			for (const list of this.#settled) await removeCondemned(store, list);
		}
		return lists;
	}

	async #rewrite(round: PackFacts[], condemned: Set<string>): Promise<Condemned[]> {
		const lane = createLane("repository-prune", availableParallelism());
		try {
			const total = bytesOf(round);
			const { packs, damaged, bytes } = await rewritePacks(round, {
				...this.context,
				lane,
				live: this.#marker.live,
				condemned: new Set([...condemned, ...round.map(({ id }) => id)]),
				signal: this.options.signal,
				progress: (done) => this.options.progress?.({ done, total, what: "rewriting" }),
			});
			this.#rewritten += bytes;
			this.#damaged.push(...damaged);
			return await this.#condemn(packs);
		} finally {
			await lane.close();
		}
	}

	/** Deletes or releases the packs of every list whose writers have all ended. */
	async #settle(lists: Condemned[]): Promise<void> {
		const running = new Set(await runningBackups(this.context.store));
		const ripe = lists.filter(
			(list) => !this.#settled.includes(list) && list.writers?.some((id) => running.has(id)) === false,
		);
		if (ripe.length === 0) return;
		// After the writers were seen to have ended: no point that comes later can count on these packs.
		await this.#mark();
		const { store, keyring } = this.context;
		const condemned = condemnedPacks(lists);
		const seals = new PackSeals(store, keyring);
		const context = { store, keyring, seals, index: this.#index, live: this.#marker.live, condemned };
		for (const list of ripe) {
			for (const pack of list.packs) {
				this.#checkSignal();
				const size = await settlePack(pack, context);
				if (size > 0) this.#deleted += 1;
				this.#freed += size;
				if ((await store.size(packName(pack))) === undefined) this.#gone.add(pack);
				else this.#released += 1;
			}
			this.#settled.push(list);
		}
	}
}

const bytesOf = (packs: PackFacts[]): number => packs.reduce((sum, { size }) => sum + size, 0);
const copied = (packs: PackFacts[]) => ({
	packs: packs.length,
	bytes: bytesOf(packs),
	live: packs.reduce((sum, { live }) => sum + live, 0),
});

/** What a running backup has stored is no point's yet: it is left alone, so that others can count on it meanwhile. */
const isYounger = async (store: Store, pack: string, than: number): Promise<boolean> =>
	than !== Number.POSITIVE_INFINITY && ((await store.modified(packName(pack))) ?? 0) >= than;
