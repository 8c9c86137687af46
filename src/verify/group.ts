/** One round of a group: a lab of its own, its VMs in their order, each kept as long as another one needs it. */
import { randomBytes } from "node:crypto";
import type { Hypervisor } from "../hypervisor/index.js";
import type { Lab, LabNetwork } from "../lab/contract.js";
import { Budget } from "./budget.js";
import { causeOf, endOf } from "./errors.js";
import type { Guest } from "./machine.js";
import type { GroupPlan, VmPlan, VmReport } from "./model.js";
import type { RunNotes } from "./notes.js";
import { verifyVm } from "./verify-vm.js";
import type { VerifyWorld } from "./world.js";

export interface Round {
	group: GroupPlan;
	guests: Guest[];
}

export interface RoundWorld {
	world: VerifyWorld;
	host: Hypervisor;
	notes: RunNotes;
	budget: Budget;
	/** fires when nothing more is to be done */
	signal: AbortSignal;
	/** a VM has failed: true when nothing more is to be started */
	stops(): boolean;
	failed(): void;
	onFailure: "continue" | "group" | "stop";
}

/** `group`: its name */
type InGroup = RoundWorld & { group: string };

/** Reports in the order of the plan. Never rejects. */
export const verifyRound = async (round: Round, at: RoundWorld): Promise<VmReport[]> => {
	const { guests } = round;
	const named = { ...at, group: round.group.name };
	const ordered = guests.some(({ plan }) => plan.after.length > 0);
	// Those that wait for each other must all fit at once; the others come one by one.
	return ordered ? withRoom(guests, named, () => runRound(round, named, true)) : runRound(round, named, false);
};

const needOf = (guests: Guest[], { budget }: InGroup) => ({
	places: Math.min(budget.limits.places, guests.length),
	cpus: guests.reduce((sum, { config }) => sum + config.cpus, 0),
	memoryMiB: guests.reduce((sum, { config }) => sum + config.memoryMiB, 0),
});

/** Runs `work` when there is room for these; without it they are skipped, and why is told. */
const withRoom = async (guests: Guest[], at: InGroup, work: () => Promise<VmReport[]>): Promise<VmReport[]> => {
	const need = needOf(guests, at);
	if (at.budget.tooMuch(need)) {
		const words = `needs ${need.memoryMiB} MiB of memory at once, the limit is ${at.budget.limits.memoryMiB}: raise limits.memory, or give its VMs less`;
		return guests.map((guest) => notRun(guest, at, { fault: "infrastructure", summary: words }));
	}
	let release: () => void;
	try {
		release = await at.budget.take(need, at.signal);
	} catch {
		return guests.map((guest) => notRun(guest, at, { cancelled: true }));
	}
	try {
		return await work();
	} finally {
		release();
	}
};

const runRound = async ({ group, guests }: Round, at: InGroup, hasRoom: boolean): Promise<VmReport[]> => {
	const lab = new LateLab(group, guests, at);
	/** by the name in the plan: whether it passed */
	const passed = new Map<string, Promise<boolean>>();
	/** resolves when the VM's verification is over, whatever came of it */
	const over = new Map<string, Promise<unknown>>();
	const verdicts = guests.map(({ plan }) => {
		const settled = later<boolean>();
		passed.set(plan.vm, settled.promise);
		return settled;
	});
	// Those that are only kept for others take no place.
	const places = new Budget({ places: at.budget.limits.places, cpus: Infinity, memoryMiB: Infinity });
	let failed = false;
	const all = guests.map((guest, n) => {
		// Before its end: while it is kept for others, these are told.
		const settle = (verdict: boolean, fails = !verdict): void => {
			verdicts[n].resolve(verdict);
			failed ||= fails;
			if (fails) at.failed();
		};
		const needed = async (): Promise<void> => {
			await Promise.all(dependents(guest.plan.vm, guests).map((vm) => over.get(vm)));
		};
		const work = async (): Promise<VmReport[]> => {
			const lacking = await missing(guest.plan, passed);
			const give = await places.take({ places: 1, cpus: 0, memoryMiB: 0 }, at.signal).catch(() => () => {});
			try {
				if (lacking !== undefined && at.onFailure !== "continue") return [notRun(guest, at, { summary: lacking })];
				if (at.stops()) return [notRun(guest, at, { summary: "another VM failed, and the plan stops then" })];
				if (failed && at.onFailure === "group")
					return [
						notRun(guest, at, { summary: "another VM of its group failed, and the plan goes on with others then" }),
					];
				const { world, host, notes, signal } = at;
				const opened = await lab.open();
				const about = { guest, group: group.name, host, lab: opened, notes, world, needed, signal };
				return [
					await verifyVm(about, (verdict) => {
						give();
						settle(verdict);
					}),
				];
			} catch (error) {
				return [notRun(guest, at, { fault: "infrastructure", summary: `the lab: ${causeOf(error)}` })];
			} finally {
				give();
			}
		};
		const report = (hasRoom ? work() : withRoom([guest], at, work)).then(([report]) => {
			settle(report.result === "passed" || report.result === "warning", report.result === "failed");
			return report;
		});
		over.set(guest.plan.vm, report);
		return report;
	});
	const reports = await Promise.all(all);
	await lab.close();
	return reports;
};

/** Names of those that wait for `vm`, also by way of others. */
const dependents = (vm: string, guests: Guest[]): string[] => {
	const direct = guests.filter(({ plan }) => plan.after.includes(vm)).map(({ plan }) => plan.vm);
	return [...new Set(direct.flatMap((one) => [one, ...dependents(one, guests)]))];
};

/** Waits for those that come first. Resolves with what is missing; undefined: nothing. */
const missing = async ({ after }: VmPlan, passed: Map<string, Promise<boolean>>): Promise<string | undefined> => {
	for (const vm of after) if ((await passed.get(vm)) === false) return `it comes after ${vm}, which did not pass`;
	return undefined;
};

const later = <T>(): { promise: Promise<T>; resolve: (value: T) => void } => {
	let resolve!: (value: T) => void;
	const promise = new Promise<T>((go) => {
		resolve = go;
	});
	return { promise, resolve };
};

/** The group's lab: opened for the first VM that gets to it. */
class LateLab {
	#lab: Promise<Lab> | undefined;
	readonly #id = randomBytes(4).toString("hex");

	constructor(
		private readonly group: GroupPlan,
		private readonly guests: Guest[],
		private readonly at: InGroup,
	) {}

	open(): Promise<Lab> {
		this.#lab ??= this.#open();
		return this.#lab;
	}

	#open(): Promise<Lab> {
		const { world, host, notes } = this.at;
		const said = this.group.networks;
		const names = new Set(this.guests.flatMap(({ guest }) => guest.nics.map(({ network }) => network)));
		const more = [...names].filter((name) => !said.some((one) => one.name === name));
		const networks: LabNetwork[] = [...said.filter(({ name }) => names.has(name)), ...more.map((name) => ({ name }))];
		notes.add("labs", this.#id);
		return world.openLab({
			...{ id: this.#id, directory: world.directory, networks },
			host: host.type === "libvirt" ? "libvirt" : "qemu",
			guests: this.guests.map(({ guest }) => guest),
		});
	}

	async close(): Promise<void> {
		const { world, notes } = this.at;
		const lab = await this.#lab?.catch(() => undefined);
		try {
			await lab?.close();
			notes.drop("labs", this.#id);
		} catch (error) {
			world.say(`warning: lab ${this.#id} cannot be taken away yet, the next run does it: ${causeOf(error)}`);
		}
	}
}

/** A VM that was not started: skipped, or, where that is a fault, failed. */
const notRun = (
	{ plan, point }: Guest,
	{ world, signal, group }: InGroup,
	why: { fault?: "infrastructure"; summary?: string; cancelled?: boolean },
): VmReport => {
	const cancelled = why.cancelled === true || signal.aborted;
	const now = world.now().toISOString();
	const report: VmReport = {
		...{ vm: plan.vm, group, role: plan.role, point: { id: point.id, time: point.time } },
		disks: point.disks.map(({ name, size, identity }) => {
			const id = identity ?? "zeros";
			return { name, size, identityBefore: id, identityAfter: id };
		}),
		result: cancelled ? "cancelled" : why.fault === undefined ? "skipped" : "failed",
		fault: cancelled ? null : (why.fault ?? null),
		summary: cancelled ? endOf(signal) : (why.summary ?? ""),
		...{ started: now, ended: now, timeline: [], timeToServiceMs: null, readToBoot: null, readInAll: null },
		...{ tests: [], screenshots: [], console: "", addresses: [], generationId: null },
	};
	world.event({ what: "done", vm: plan.vm, result: report.result, summary: report.summary });
	return report;
};
