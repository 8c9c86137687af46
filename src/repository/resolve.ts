/** Finds the restore point that a user means: VM, VM@PREFIX, VM@latest, VM@TIME. */
import { RepositoryError } from "./contract.js";
import type { StoredPoint } from "./points.js";
import { instantsOf, looksLikeTime, secondsText } from "./time.js";

const SHOWN = 8;

const some = (items: string[]): string =>
	items.length <= SHOWN ? items.join(", ") : `${items.slice(0, SHOWN).join(", ")} and ${items.length - SHOWN} more`;

const describe = ({ id, taken }: StoredPoint): string => `${id.slice(0, 12)} (${secondsText(taken)})`;

/** `points` are all points, oldest first. Throws RepositoryError UNKNOWN_VM, UNKNOWN_POINT or AMBIGUOUS. */
export const resolvePoint = (spec: string, points: StoredPoint[]): StoredPoint => {
	const at = spec.indexOf("@");
	const vm = at < 0 ? spec : spec.slice(0, at);
	const which = at < 0 ? "latest" : spec.slice(at + 1);
	const own = points.filter((point) => point.vm === vm);
	if (own.length === 0) {
		const names = [...new Set(points.map((point) => point.vm))].sort();
		const known = names.length === 0 ? "the repository has no restore points yet" : `it has ${some(names)}`;
		throw new RepositoryError("UNKNOWN_VM", `no VM ${JSON.stringify(vm)} in the repository: ${known}`);
	}
	if (which === "latest") return own.at(-1)!;
	if (looksLikeTime(which)) return atTime(vm, which, own);
	const prefix = which.toLowerCase();
	const matches = /^[0-9a-f]{1,32}$/.test(prefix) ? own.filter(({ id }) => id.startsWith(prefix)) : [];
	if (matches.length === 1) return matches[0];
	if (matches.length > 1)
		throw new RepositoryError("AMBIGUOUS", `${spec} is ambiguous: ${some(matches.map(describe))}; give more digits`);
	throw new RepositoryError(
		"UNKNOWN_POINT",
		`no restore point ${which} of ${vm}: it has ${some(own.map(describe).reverse())}`,
	);
};

const atTime = (vm: string, text: string, own: StoredPoint[]): StoredPoint => {
	const instants = instantsOf(text);
	if (instants.length === 0)
		throw new RepositoryError("UNKNOWN_POINT", `${text} is not a time that exists: write it like 2026-11-21T01:02:03Z`);
	if (instants.length > 1) {
		const meant = instants.map(secondsText).join(" or ");
		throw new RepositoryError("AMBIGUOUS", `${text} happened twice, when the clocks were set back: say ${meant}`);
	}
	const found = own.findLast(({ taken }) => taken <= instants[0]);
	if (found !== undefined) return found;
	throw new RepositoryError(
		"UNKNOWN_POINT",
		`no restore point of ${vm} at or before ${text}: the oldest is ${describe(own[0])}`,
	);
};
