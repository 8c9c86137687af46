/**
 * Removes restore points (docs/format.md, 10.2): one forget at a time decides; each point that goes is first pinned
 * exclusively, so no reader has it, and its holds are read again under the pin, so no session or person keeps it.
 */
import type { ForgetOptions, ForgetReport, Forgotten } from "./contract.js";
import { RepositoryError } from "./contract.js";
import { storeError } from "./errors.js";
import { type Hold, holdText, readHolds } from "./holds.js";
import type { Keyring } from "./keyring.js";
import { isId, LOCK_BYTE, LOCK_PINS, LOCK_REPOSITORY, pinByte, pointName } from "./layout.js";
import type { PointStore, StoredPoint } from "./points.js";
import { resolvePoint } from "./resolve.js";
import { planRetention, type VmPlan } from "./retention.js";
import type { Held, Store } from "./store.js";
import { secondsText } from "./time.js";

export interface ForgetContext {
	store: Store;
	points: PointStore;
	keyring: Keyring;
}

export const runForget = async (options: ForgetOptions, context: ForgetContext): Promise<ForgetReport> => {
	const { store } = context;
	let lock: Held | undefined;
	try {
		if (!options.dryRun) {
			lock = await store.lock(LOCK_REPOSITORY, LOCK_BYTE.points, "exclusive");
			if (lock === undefined)
				throw new RepositoryError("LOCKED", `${store.place}: another forget runs: try again when it has ended`);
		}
		return await forget(options, context);
	} catch (error) {
		throw storeError(error, store.place, "removing restore points");
	} finally {
		lock?.release();
	}
};

const forget = async (options: ForgetOptions, { store, points, keyring }: ForgetContext): Promise<ForgetReport> => {
	points.forget();
	const all = await points.list();
	const holds = await goodHolds(store, keyring);
	const kept = new Map(holds.map((hold) => [hold.point, holdText(hold)]));
	for (const [point, why] of options.inUse ?? []) kept.set(point, why);
	if ("specs" in options.what && points.bad.size > 0) checkNames(options.what.specs, points.bad);
	const plans =
		"specs" in options.what ? named(options.what.specs, all, kept) : byPolicy(options, all, (id) => kept.get(id));
	const report: ForgetReport = { dryRun: options.dryRun === true, points: [], removed: 0, refused: [] };
	for (const { vm, decisions, doubts } of plans) {
		const refused = doubts.length > 0 && options.force !== true;
		if (doubts.length > 0) report.refused.push({ vm, doubts, forced: !refused });
		for (const { point, keep, reasons } of decisions) {
			const entry: Forgotten = { id: point.id, vm, time: secondsText(point.taken), keep, reasons, removed: false };
			if (!keep && refused && !options.dryRun) Object.assign(entry, { keep: true, reasons: ["wants --force"] });
			report.points.push(entry);
			if (entry.keep || options.dryRun) continue;
			if (options.signal?.aborted) throw new RepositoryError("INTERRUPTED", "forget was interrupted");
			const why = await removePoint(store, keyring, point.id);
			if (why === undefined) {
				entry.removed = true;
				report.removed += 1;
			} else Object.assign(entry, { keep: true, reasons: [why] });
		}
	}
	return report;
};

/** While a point cannot be read, "latest", a time or a few digits may find another one than is meant. */
const checkNames = (specs: string[], bad: Map<string, string>): void => {
	if (specs.every((spec) => isId(spec.slice(spec.indexOf("@") + 1)))) return;
	const [[id, why]] = bad;
	throw new RepositoryError(
		"DAMAGED",
		`restore point ${id} cannot be read (${why}), so it is not certain which ones are meant: name them by all 32 digits`,
	);
};

const byPolicy = (
	{ what, now }: ForgetOptions,
	all: StoredPoint[],
	held: (id: string) => string | undefined,
): VmPlan<StoredPoint>[] => {
	if (!("policy" in what)) return [];
	const { vms, tags, policy } = what;
	for (const vm of vms) if (!all.some((point) => point.vm === vm)) resolvePoint(vm, all);
	const chosen = all.filter(
		(point) =>
			(vms.length === 0 || vms.includes(point.vm)) &&
			(tags.length === 0 || point.tags?.some((tag) => tags.includes(tag)) === true),
	);
	return planRetention(chosen, policy, ({ id }) => held(id), now().getTime());
};

/** Points that the user names: only a hold keeps them, and doubt is raised when a VM's last would go. */
const named = (specs: string[], all: StoredPoint[], kept: Map<string, string>): VmPlan<StoredPoint>[] => {
	const chosen = new Set(specs.map((spec) => resolvePoint(spec, all)));
	return [...new Set([...chosen].map(({ vm }) => vm))].map((vm) => {
		const own = [...chosen].filter((point) => point.vm === vm);
		const decisions = own.map((point) => {
			const why = kept.get(point.id);
			return { point, keep: why !== undefined, reasons: why === undefined ? [] : [why] };
		});
		const going = decisions.filter(({ keep }) => !keep).length;
		const last = going > 0 && going === all.filter((point) => point.vm === vm).length;
		return { vm, decisions, doubts: last ? ["its last restore point would go"] : [] };
	});
};

/** Removes one point for good; a string says why it had to stay. */
const removePoint = async (store: Store, keyring: Keyring, id: string): Promise<string | undefined> => {
	const pin = await store.lock(LOCK_PINS, pinByte(id), "exclusive");
	if (pin === undefined) return "in use by a reader";
	try {
		// A session pins first and notes its use then, so under our pin its note is here if it ever will be.
		const hold = (await goodHolds(store, keyring)).find(({ point }) => point === id);
		if (hold !== undefined) return holdText(hold);
		await store.remove(pointName(id));
		return undefined;
	} finally {
		pin.release();
	}
};

const goodHolds = async (store: Store, keyring: Keyring): Promise<Hold[]> => {
	const { holds, bad } = await readHolds(store, keyring);
	if (bad.length === 0) return holds;
	throw new RepositoryError(
		"DAMAGED",
		`${store.place}/${bad[0].file} is damaged (${bad[0].why}), so nobody knows which restore point it holds: remove that file, and hold the point again`,
	);
};
