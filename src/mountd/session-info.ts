/** What `sessions` shows: records on disk, completed by what the mount process knows of served ones. */
import type { SessionInfo } from "./protocol.js";
import type { SessionRecord } from "./session-record.js";
import { SessionStore } from "./session-store.js";

export type Live = Pick<SessionInfo, "state"> & Partial<Pick<SessionInfo, "written" | "disk" | "error">>;

/** `live`: what the caller knows of a session beyond its record; undefined when it does not serve it. */
export function sessionInfo(store: SessionStore, live: (record: SessionRecord) => Live | undefined): SessionInfo[] {
	const { sessions, broken } = store.list();
	const infos = sessions.map(({ record }) => describe(record, live(record) ?? { state: record.state }));
	for (const { directory, error } of broken) infos.push(unreadable(directory, error));
	for (const { record } of store.trash().sessions)
		infos.push({ ...describe(record, { state: "trash" }), expires: SessionStore.expires(record) });
	return infos;
}

function describe(record: SessionRecord, live: Live): SessionInfo {
	return {
		session: record.name,
		uuid: record.uuid,
		vm: record.vm,
		point: record.point,
		pointTime: record.pointTime,
		repository: record.repository,
		created: record.created,
		listen: record.listen,
		readOnly: record.readOnly,
		written: record.writtenBytes,
		disk: null,
		lastWrite: record.lastWrite,
		unprotectedSince: record.unprotectedSince,
		...live,
	};
}

function unreadable(directory: string, error: string): SessionInfo {
	return {
		session: directory,
		uuid: "",
		state: "failed",
		vm: "",
		point: "",
		pointTime: "",
		repository: "",
		created: "",
		listen: "",
		readOnly: false,
		written: null,
		disk: null,
		lastWrite: null,
		unprotectedSince: null,
		error,
	};
}

/** ns since the epoch as UTC text */
export function timeOf(ns: bigint): string {
	return new Date(Number(ns / 1_000_000n)).toISOString();
}
