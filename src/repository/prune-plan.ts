/** What prune would do: which packs can go, which are worth rewriting, which small ones are put together. Changes nothing. */
import { PACK_TARGET_BYTES } from "./layout.js";
import type { PackFacts, Survey } from "./prune-survey.js";

/** Share of a pack's record bytes that must be dead to be worth copying the rest. */
const REWRITE_SHARE = 0.2;
/** Packs with less live bytes are small. */
const SMALL_BYTES = PACK_TARGET_BYTES / 4;
/** Small packs are told apart by tiers, each of packs up to four times as large; this is the top of the first. */
const FIRST_TIER_BYTES = 256 * 1024;
/** Packs of one tier that make merging them worth its writes. */
const MERGE_PACKS = 4;

export interface Plan {
	dead: PackFacts[];
	/** most dead first */
	rewrite: PackFacts[];
	/** small ones that are copied into few, smallest first */
	merge: PackFacts[];
	/** record bytes that are dead and stay, for the bound or because it is not worth it */
	left: number;
}

/** `bound`: most record bytes to copy. What frees space comes first, then what makes packs fewer. */
export const planPrune = ({ packs }: Survey, bound: number): Plan => {
	const plan: Plan = { dead: [], rewrite: [], merge: [], left: 0 };
	const deadShare = ({ total, live }: PackFacts) => (total === 0 ? 1 : (total - live) / total);
	const rest: PackFacts[] = [];
	let copied = 0;
	for (const facts of [...packs].sort((a, b) => deadShare(b) - deadShare(a) || byId(a, b))) {
		if (facts.live === 0) plan.dead.push(facts);
		else if (deadShare(facts) >= REWRITE_SHARE && copied + facts.live <= bound) {
			plan.rewrite.push(facts);
			copied += facts.live;
		} else rest.push(facts);
	}
	for (const kind of new Set(rest.map((facts) => facts.kind))) {
		const chosen: PackFacts[] = [];
		const rewritten = plan.rewrite.reduce((sum, one) => sum + (one.kind === kind ? one.live : 0), 0);
		for (const facts of toMerge(
			rest.filter((one) => one.kind === kind),
			rewritten,
		)) {
			if (copied + facts.live > bound) break;
			chosen.push(facts);
			copied += facts.live;
		}
		// One alone would only be copied.
		if (chosen.length > 1 || (chosen.length === 1 && rewritten > 0)) plan.merge.push(...chosen);
		else copied -= chosen.reduce((sum, { live }) => sum + live, 0);
	}
	const merged = new Set(plan.merge);
	for (const facts of rest) if (!merged.has(facts)) plan.left += facts.total - facts.live;
	return plan;
};

const byId = (a: PackFacts, b: PackFacts): number => (a.id < b.id ? -1 : 1);

const tierOf = (live: number): number => {
	let tier = 0;
	for (let top = FIRST_TIER_BYTES; live >= top; top *= 4) tier += 1;
	return tier;
};

/**
 * Packs of one kind to put together, smallest first. A tier is merged when four packs are in it; what comes of the tiers below
 * counts as one, and so do the `rewritten` bytes that are copied anyway. Each byte is copied once for each tier at most, and
 * few small packs stay.
 */
const toMerge = (packs: PackFacts[], rewritten: number): PackFacts[] => {
	const small = packs.filter(({ live }) => live < SMALL_BYTES).sort((a, b) => a.live - b.live || byId(a, b));
	const chosen: PackFacts[] = [];
	let sum = rewritten;
	for (let tier = 0; tier < tierOf(SMALL_BYTES); tier++) {
		const here = small.filter(({ live }) => tierOf(live) === tier);
		const carried = sum > 0 && tierOf(sum) === tier ? 1 : 0;
		if (here.length === 0 || here.length + carried < MERGE_PACKS) continue;
		chosen.push(...here);
		for (const { live } of here) sum += live;
	}
	return chosen;
};
