/** Which VMs the names and patterns of a plan mean, and in which order those of a group start. */
import type { Place, Source } from "./source.js";
import { suggestion } from "./suggest.js";

/** `*` stands for any characters, `?` for one. */
export const isPattern = (name: string): boolean => /[*?]/.test(name);

export const matches = (pattern: string, name: string): boolean =>
	new RegExp(
		`^${pattern
			.replaceAll(/[.+^${}()|[\]\\]/g, "\\$&")
			.replaceAll("*", "[^]*")
			.replaceAll("?", "[^]")}$`,
		"u",
	).test(name);

export interface Claim<T> {
	key: string;
	keyPlace: Place;
	value: T;
}

/**
 * VMs by claim, in the plan's order. What is named comes before what a pattern matches, the first pattern before the
 * next, all over the plan. Fails on a VM that is not there, is named twice, or a pattern that finds nothing.
 */
export const resolveClaims = <T>(claims: Claim<T>[], inventory: readonly string[], source: Source): string[][] => {
	const taken = new Map<string, Place>();
	const plain = (name: string) => inventory.includes(name) || !isPattern(name);
	const named = claims.map(({ key, keyPlace }) => {
		if (!plain(key)) return undefined;
		if (!inventory.includes(key))
			source.fail(keyPlace, `there is no VM "${key}" with a restore point: ${suggestion(key, inventory)}`);
		if (taken.has(key)) source.fail(keyPlace, `"${key}" is in this plan twice: a VM belongs to one group`);
		taken.set(key, keyPlace);
		return [key];
	});
	return claims.map(({ key, keyPlace }, i) => {
		const own = named[i];
		if (own !== undefined) return own;
		const all = inventory.filter((name) => matches(key, name));
		if (all.length === 0)
			source.fail(keyPlace, `no VM matches "${key}": ${suggestion(key.replaceAll(/[*?]/g, ""), inventory)}`);
		const free = all.filter((name) => !taken.has(name));
		if (free.length === 0) source.fail(keyPlace, `every VM that "${key}" matches is in this plan already`);
		for (const name of free) taken.set(name, keyPlace);
		return free;
	});
};

export interface Dependent {
	vm: string;
	after: string[];
	place: Place;
}

/** The same VMs, each behind those it comes after, else in the plan's order. Fails on a cycle, which it names. */
export const inOrder = <T extends Dependent>(vms: T[], source: Source): T[] => {
	const ordered: T[] = [];
	const done = new Set<string>();
	const visit = (one: T, path: string[]): void => {
		if (done.has(one.vm)) return;
		if (path.includes(one.vm)) {
			const cycle = [...path.slice(path.indexOf(one.vm)), one.vm];
			source.fail(one.place, `each waits for the next, so none can start: ${cycle.join(" → ")}: take one "after" out`);
		}
		for (const name of one.after) visit(vms.find(({ vm }) => vm === name)!, [...path, one.vm]);
		done.add(one.vm);
		ordered.push(one);
	};
	for (const one of vms) visit(one, []);
	return ordered;
};
