/** The end of a recovery: what it made on the host goes, and its session is kept, discarded or, once it has moved, freed. */
import { RecoveryError } from "./errors.js";
import { isVerified, wake } from "./migrate.js";
import type { RecoveryRecord } from "./records.js";
import { recoveredVm, restoreOriginal } from "./steps.js";
import { endWhenLeft, undo } from "./undo.js";
import type { EndedSession, SessionEnd, SessionState, World } from "./world.js";

export interface FinishRequest {
	how: "keep" | "discard" | "auto";
	/** the session's name again, wanted by "discard" */
	confirm?: string;
	/** the host is no more: what we made there went with it */
	hostGone: boolean;
}

export interface Finished {
	record: RecoveryRecord;
	/** undefined: there was no session any more, or it was undone */
	session: EndedSession | undefined;
	/** the VM goes on, on storage of its host */
	moved: boolean;
}

export const finishRecovery = (session: string, request: FinishRequest, world: World): Promise<Finished> =>
	world.records.alone(session, async () => {
		const record = world.records.find(session);
		if (record === undefined) throw new RecoveryError("UNKNOWN", `session ${session} was just ended`);
		if (record.ready === null) {
			await undo(record, world, request.hostGone);
			return { record, session: undefined, moved: false };
		}
		const moved = record.migration?.finished != null;
		const how = moved ? (isVerified(record) ? "moved" : "discard") : await wanted(session, request, world);
		// A VM that has moved is production now: it stays, and so does the original that was set aside.
		if (!moved && !request.hostGone) await takeFromHost(record, world);
		const known = (await world.serving.sessions()).find((one) => one.session === session);
		const ended = known && (await endWhenLeft(session, how, world));
		if (moved && !request.hostGone) await releaseVm(record, world);
		world.records.remove(session);
		return { record, session: ended, moved };
	});

/** What has moved is the host's own VM now, and no session's. */
const releaseVm = async ({ host: name, id, session }: RecoveryRecord, world: World): Promise<void> => {
	const host = await world.host(name).open();
	const vm = (await host.list()).find((one) => one.id === id);
	if (vm?.session === session) await host.release?.(id);
};

/** What a person asked for, when it may be done. Nothing has been done yet. */
const wanted = async (
	session: string,
	{ how, confirm }: FinishRequest,
	{ serving }: World,
): Promise<Exclude<SessionEnd, "moved">> => {
	const known = (await serving.sessions()).find((one) => one.session === session);
	if (known === undefined || how === "keep") return "keep";
	const unwritten = known.lastWrite === null && known.state !== "failed";
	if (how === "auto" && !unwritten)
		throw new RecoveryError(
			"USAGE",
			`${factsOf(known)}: say --keep (stop serving, keep them) or --discard --confirm ${session}; or bring it home first: springback migrate ${session}`,
		);
	if (how === "discard" && !unwritten && confirm !== session)
		throw new RecoveryError(
			"USAGE",
			`${factsOf(known)}: discarding them wants the name again: --discard --confirm ${session}`,
		);
	return unwritten ? "unwritten" : "discard";
};

const factsOf = ({ session, created, written, lastWrite }: SessionState): string =>
	`session ${session} of ${created} holds ${written ?? "an unknown number of"} bytes written, last write ${lastWrite ?? "not known"}`;

const takeFromHost = async (record: RecoveryRecord, world: World): Promise<void> => {
	const host = await world.host(record.host).open();
	await wake(record, host, world);
	const vm = await recoveredVm(record, host);
	if (vm !== undefined && vm.state !== "off")
		throw new RecoveryError(
			"STATE",
			`VM ${vm.name} on ${record.host} is ${vm.state}: power it off first (springback migrate ${record.session} brings it home instead)`,
		);
	record.phase = "finishing";
	world.records.save(record);
	// What a copy that was stopped by force left there.
	if (record.migration !== null) await host.cleanUp();
	if (vm !== undefined) await host.unregister(vm.id);
	if (record.replaced !== null) await restoreOriginal(record.replaced, world, false);
};
