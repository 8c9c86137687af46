/**
 * Which restore points a policy keeps, and why. Pure: no clock but the one given, no files. Counts go from a VM's newest
 * point backwards, so a VM that is no longer backed up loses nothing as time goes by.
 */

export interface RetentionPolicy {
	/** the newest N points */
	last?: number;
	/** the newest point of each of the newest N hours (days, …) that have one, in local time; weeks begin on Monday */
	hourly?: number;
	daily?: number;
	weekly?: number;
	monthly?: number;
	yearly?: number;
	/** every point at most so much older than the newest */
	within?: Span;
}

/** Calendar years and months, then hours. */
export interface Span {
	years: number;
	months: number;
	hours: number;
}

/** What the policy needs to know of a point. */
export interface RetentionPoint {
	id: string;
	vm: string;
	/** ms since 1970 UTC */
	taken: number;
	/** rises with each backup of the VM, whatever the clock says */
	sequence: number;
}

export interface Decision<P extends RetentionPoint = RetentionPoint> {
	point: P;
	keep: boolean;
	/** why it stays, one phrase each; empty when it does not */
	reasons: string[];
}

export interface VmPlan<P extends RetentionPoint = RetentionPoint> {
	vm: string;
	/** oldest first */
	decisions: Decision<P>[];
	/** why this VM's points are only removed when that is insisted on, one sentence each */
	doubts: string[];
}

const two = (n: number): string => String(n).padStart(2, "0");

const dayOf = (date: Date): string => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;

/** The day of the Monday before, which names the week. */
const weekOf = (date: Date): string => {
	const monday = new Date(date.getFullYear(), date.getMonth(), date.getDate() - ((date.getDay() + 6) % 7));
	return dayOf(monday);
};

const PERIODS = [
	// The offset tells the two hours apart that have one name when clocks are set back.
	["hourly", (date: Date) => `${dayOf(date)} ${two(date.getHours())} ${date.getTimezoneOffset()}`],
	["daily", dayOf],
	["weekly", weekOf],
	["monthly", (date: Date) => dayOf(date).slice(0, 7)],
	["yearly", (date: Date) => dayOf(date).slice(0, 4)],
] as const;

/** `held`: why a point stays whatever the policy says, for those that do. `now`: ms since 1970 UTC. */
export const planRetention = <P extends RetentionPoint>(
	points: readonly P[],
	policy: RetentionPolicy,
	held: (point: P) => string | undefined,
	now: number,
): VmPlan<P>[] => {
	const vms = new Map<string, P[]>();
	for (const point of points) vms.set(point.vm, [...(vms.get(point.vm) ?? []), point]);
	return [...vms].sort(([a], [b]) => (a < b ? -1 : 1)).map(([vm, own]) => planVm(vm, own, policy, held, now));
};

const byTime = (a: RetentionPoint, b: RetentionPoint): number =>
	a.taken - b.taken || a.sequence - b.sequence || (a.id < b.id ? -1 : 1);

const planVm = <P extends RetentionPoint>(
	vm: string,
	points: P[],
	policy: RetentionPolicy,
	held: (point: P) => string | undefined,
	now: number,
): VmPlan<P> => {
	const newestFirst = [...points].sort((a, b) => byTime(b, a));
	const reasons = new Map<P, string[]>(newestFirst.map((point) => [point, []]));
	const keep = (point: P, why: string) => reasons.get(point)!.push(why);
	for (const [n, point] of newestFirst.slice(0, policy.last ?? 0).entries()) keep(point, `last ${n + 1}`);
	for (const [period, nameOf] of PERIODS) {
		const seen = new Set<string>();
		for (const point of newestFirst) {
			const name = nameOf(new Date(point.taken));
			if (seen.has(name)) continue;
			if (seen.size >= (policy[period] ?? 0)) break;
			seen.add(name);
			keep(point, `${period} ${seen.size}`);
		}
	}
	if (policy.within !== undefined) {
		const since = before(newestFirst[0].taken, policy.within);
		for (const point of newestFirst) if (point.taken >= since) keep(point, "within");
	}
	for (const point of newestFirst) {
		const why = held(point);
		if (why !== undefined) keep(point, why);
	}
	// A VM never loses its last point, not even to a policy that keeps nothing of it.
	if (newestFirst.every((point) => reasons.get(point)!.length === 0)) keep(newestFirst[0], "the only one left");
	const decisions = newestFirst.reverse().map((point) => ({
		point,
		keep: reasons.get(point)!.length > 0,
		reasons: reasons.get(point)!,
	}));
	return { vm, decisions, doubts: doubtsOf(decisions, now) };
};

const before = (time: number, { years, months, hours }: Span): number => {
	const date = new Date(time);
	const day = date.getDate();
	date.setDate(1);
	date.setMonth(date.getMonth() - months - 12 * years);
	// A month before 31 March is 28 February, not 3 March.
	date.setDate(Math.min(day, new Date(date.getFullYear(), date.getMonth() + 1, 0).getDate()));
	return date.getTime() - hours * 3_600_000;
};

/** Signs that what would be removed is not what was meant. */
const doubtsOf = (decisions: Decision[], now: number): string[] => {
	const removed = decisions.filter(({ keep }) => !keep).length;
	if (removed === 0) return [];
	const doubts: string[] = [];
	const newest = decisions.at(-1)!.point;
	if (newest.taken > now)
		doubts.push(`its newest point (${newest.id.slice(0, 8)}) lies in the future: the clock was or is wrong`);
	const inOrder = decisions.map(({ point }) => point).sort((a, b) => a.sequence - b.sequence || byTime(a, b));
	const back = inOrder.findIndex(
		(point, n) => n > 0 && point.sequence > inOrder[n - 1].sequence && point.taken < inOrder[n - 1].taken,
	);
	if (back > 0)
		doubts.push(
			`point ${inOrder[back].id.slice(0, 8)} was made after ${inOrder[back - 1].id.slice(0, 8)} and bears an earlier time: the clock jumped`,
		);
	if (removed > decisions.length / 2)
		doubts.push(`${removed} of its ${decisions.length} points would go, more than half`);
	return doubts;
};
