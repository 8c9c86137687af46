/** A run: a plan, carried out. Rejects only when nothing could begin; everything else is in the report. */
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import type { Hypervisor } from "../hypervisor/index.js";
import type { Point } from "../repository/index.js";
import { Budget } from "./budget.js";
import { choosePoints } from "./choose-points.js";
import { VerifyError } from "./errors.js";
import { type Round, type RoundWorld, verifyRound } from "./group.js";
import { type Guest, makeGuest } from "./machine.js";
import type { GroupPlan, RunReport, VerificationPlan } from "./model.js";
import { resultOf } from "./verify-vm.js";
import type { VerifyWorld } from "./world.js";

export const verify = async (plan: VerificationPlan, world: VerifyWorld): Promise<RunReport> => {
	const id = randomBytes(16).toString("hex");
	const started = world.now().toISOString();
	mkdirSync(world.directory, { recursive: true, mode: 0o700 });
	const host = await world.host.open();
	const notes = world.notes.begin(id, plan.host);
	try {
		const over = AbortSignal.any([world.signal, AbortSignal.timeout(plan.limits.timeoutMs)]);
		let stopped = false;
		const { parallel, cpus, memoryMiB } = plan.limits;
		const at: RoundWorld = {
			...{ world, host, notes, budget: new Budget({ places: parallel, cpus, memoryMiB }), signal: over },
			onFailure: plan.onFailure,
			stops: () => stopped || over.aborted,
			failed: () => {
				stopped ||= plan.onFailure === "stop";
			},
		};
		const rounds = await roundsOf(plan, id, world);
		if (rounds.length === 0)
			throw new VerifyError(
				"USAGE",
				`plan ${plan.name}: no restore point is to be verified: all were, or none is new enough`,
			);
		const vms = (await Promise.all(rounds.map((round) => verifyRound(round, at)))).flat();
		return {
			...{ version: 1, id, plan: plan.name, repository: { id: world.repository.id, path: world.repositoryPath } },
			host: { name: world.host.name, type: host.type, versions: await versionsOf(host) },
			...{ springback: world.springback, by: world.by, started, ended: world.now().toISOString() },
			result: resultOf(vms.map(({ result }) => result)),
			...{ limits: plan.limits, labMode: process.getuid?.() === 0 ? "namespace" : "user", vms },
		};
	} finally {
		notes.end();
	}
};

const versionsOf = async (host: Hypervisor): Promise<Record<string, string>> => ({
	node: process.versions.node,
	...(await host.versions?.().catch(() => ({}))),
});

/** Each group as often as its VM with the most points wants; who has fewer joins where others come after it. */
const roundsOf = async (plan: VerificationPlan, run: string, world: VerifyWorld): Promise<Round[]> => {
	const rounds: Round[] = [];
	let number = 0;
	for (const group of plan.groups) {
		const chosen = await pointsOf(group, world);
		const most = Math.max(0, ...[...chosen.values()].map((points) => points.length));
		for (let n = 0; n < most; n++) {
			const guests: Guest[] = [];
			for (const vm of group.vms) {
				const points = chosen.get(vm.vm)!;
				const needed = group.vms.some((other) => other.after.includes(vm.vm) && chosen.get(other.vm)!.length > n);
				const point = points[n] ?? (needed ? points[0] : undefined);
				if (point === undefined) continue;
				const ports = vm.tests.flatMap(({ kind, options }) => world.kindOf(kind)?.ports(options) ?? []);
				guests.push(makeGuest(vm, point, run, number++, ports));
			}
			if (guests.length > 0) rounds.push({ group, guests });
		}
	}
	return rounds;
};

const pointsOf = async (group: GroupPlan, world: VerifyWorld): Promise<Map<string, Point[]>> => {
	const chosen = new Map<string, Point[]>();
	for (const vm of group.vms) chosen.set(vm.vm, await choosePoints(world.repository, vm.vm, vm.points, world));
	return chosen;
};
