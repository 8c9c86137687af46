/**
 * Instant recovery. The dry run goes first; then the point is published, the original set aside if that was asked for, a
 * VM over the published disks registered and powered on. What is about to be done is noted before it is done: a run that
 * fails is undone, one that dies is continued by the next one, or undone by `finish`.
 */
import { setImmediate } from "node:timers/promises";
import type { Point, Repository } from "../repository/index.js";
import { causeOf, checkInterrupted, RecoveryError } from "./errors.js";
import { type Life, type LifeOptions, waitForLife } from "./life.js";
import { makePlan, type Plan, type PlanRequest } from "./plan.js";
import type { RecoveryRecord } from "./records.js";
import { freeSessionName } from "./session-name.js";
import { filesOf, register, replaceOriginal, start } from "./steps.js";
import { undo } from "./undo.js";
import type { NamedHost, World } from "./world.js";

export interface RecoverRequest extends PlanRequest, LifeOptions {
	host: string;
	/** of the repository, absolute */
	repository: string;
	session?: string;
	listen?: string;
	redirect?: string;
	powerOn: boolean;
	/** ms between backups of what the VM writes; null: none */
	protectMs: number | null;
	dryRun: boolean;
}

export interface Recovered {
	record: RecoveryRecord;
	/** undefined: an earlier run was continued */
	plan: Plan | undefined;
	life: Life | undefined;
}

/** @param spec VM[@POINT]. Rejects with REFUSED when the dry run refuses it; nothing was done then. */
export const recover = async (
	request: RecoverRequest,
	repository: Repository,
	spec: string,
	world: World,
): Promise<Recovered | { point: Point; plan: Plan }> => {
	const point = await repository.resolve(spec);
	const target = world.host(request.host);
	const before = earlierRun(request, point, /@(?!latest$)/.test(spec), world);
	if (before !== undefined && !request.dryRun)
		return world.records.alone(before.session, () => goOn(before.session, request, repository, target, world));
	const place = request.redirect ?? world.serving.place;
	const points = (await repository.points()).filter(({ vm }) => vm === point.vm);
	const files = await filesOf(repository, point);
	const plan = await makePlan(request, point, points, files, target, world.hosts, place, world.now());
	if (request.dryRun) return { point, plan };
	for (const { level, what, message } of plan.findings)
		if (level === "warning" || level === "changed") world.say(`${level}: ${what}: ${message}`);
	if (plan.refused.length > 0)
		throw new RecoveryError("REFUSED", `${point.vm} is not recovered to ${target.name}: ${plan.refused.join("; ")}`);
	checkInterrupted(world.signal, "the recovery");
	const sessions = await world.serving.sessions();
	const taken = [...sessions, ...world.records.list()].map(({ session }) => session);
	const session = request.session ?? freeSessionName(point, new Set(taken));
	return world.records.alone(session, async () => {
		const known = sessions.find((one) => one.session === session);
		if (known !== undefined && (known.vm !== point.vm || known.state === "failed"))
			throw new RecoveryError(
				"STATE",
				`session ${session} is of ${known.vm} and ${known.state}: choose another --session`,
			);
		const record: RecoveryRecord = {
			...{ version: 1, session, vm: point.vm, point: known?.point ?? point.id, pointTime: point.time },
			...{ repository: request.repository, host: target.name, name: plan.name, id: plan.config.uuid! },
			...{ config: plan.config, networks: plan.networks, powerOn: request.powerOn },
			protectMs: request.protectMs,
			diskUser: otherUser((await (await target.open()).diskUser?.()) ?? null),
			...{ listen: request.listen ?? null, redirect: request.redirect ?? null },
			...{ madeSession: known === undefined, wasServed: known?.state === "open", replaced: plan.replaced },
			...{ began: world.now().toISOString(), phase: "publishing", ready: null, migration: null },
		};
		world.records.save(record);
		return { ...(await carryOut(record, request, repository, target, world)), plan };
	});
};

/** A socket of ours is open to root and to us. */
const otherUser = (uid: number | null): number | null => (uid === 0 || uid === process.getuid?.() ? null : uid);

/** One that was begun for the same VM, host and, where it is named, point or session. */
const earlierRun = (
	{ host, session }: RecoverRequest,
	point: Point,
	named: boolean,
	world: World,
): RecoveryRecord | undefined => {
	const found = world.records
		.list()
		.filter((one) => one.vm === point.vm && one.host === host && one.migration?.finished == null)
		.filter((one) => (session === undefined ? !named || one.point === point.id : one.session === session));
	return found.find(({ ready }) => ready === null) ?? found[0];
};

const goOn = async (
	session: string,
	request: RecoverRequest,
	repository: Repository,
	target: NamedHost,
	world: World,
): Promise<Recovered> => {
	const record = world.records.find(session);
	if (record === undefined)
		throw new RecoveryError("STATE", `session ${session} was just ended: run the command again`);
	if (record.phase === "undoing" || record.phase === "finishing")
		throw new RecoveryError(
			"STATE",
			`ending session ${session} was begun: springback finish ${session} completes that, then recover again`,
		);
	if (request.name !== undefined && request.name !== record.name)
		throw new RecoveryError(
			"STATE",
			`the recovery of ${record.vm} as ${record.name} is not ended: springback finish ${session}, or another --session`,
		);
	world.say(`continues the recovery of ${record.vm} that began at ${record.began} (session ${session})`);
	return { ...(await carryOut(record, request, repository, target, world)), plan: undefined };
};

const carryOut = async (
	record: RecoveryRecord,
	life: LifeOptions,
	repository: Repository,
	target: NamedHost,
	world: World,
) => {
	const { records, serving, signal } = world;
	const next = async (phase: RecoveryRecord["phase"]): Promise<void> => {
		// A signal that came during the last step is seen before the next one: between two of these the loop polls.
		await setImmediate();
		await setImmediate();
		if (record.ready === null) checkInterrupted(signal, "the recovery");
		record.phase = record.ready === null ? phase : "ready";
		records.save(record);
	};
	try {
		const { session, vm, point } = record;
		const published = await serving.publish(session, `${vm}@${point}`, record);
		await next("replacing");
		await replaceOriginal(record, world);
		await next("registering");
		const host = await target.open();
		const files = await filesOf(repository, await repository.resolve(`${vm}@${point}`));
		await register(record, published, files, host);
		await next("starting");
		await start(record, host);
	} catch (error) {
		if (record.ready !== null) throw error;
		world.say(`undoing: ${causeOf(error)}`);
		await undo(record, world);
		throw error;
	}
	record.ready ??= world.now().toISOString();
	record.phase = "ready";
	records.save(record);
	const host = await target.open();
	return { record, life: record.powerOn ? await waitForLife(record, host, life, signal) : undefined };
};
