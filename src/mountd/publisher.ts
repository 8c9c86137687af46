/**
 * What the mount process does: makes, continues, parks and finishes sessions. Requests for one repository or one
 * session are taken one at a time; everything that outlives a request is on disk before it is answered.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ServedSession } from "../datastore/datastore.js";
import { sessionFolder } from "../datastore/folder.js";
import { createSession } from "../overlay/index.js";
import type { Point } from "../repository/index.js";
import { LOOPBACK } from "./config.js";
import {
	type CloseResult,
	ControlError,
	type FinishParams,
	type FinishResult,
	type NbdDisk,
	type PublishParams,
	type PublishResult,
	type SessionInfo,
} from "./protocol.js";
import {
	bases,
	type OpenSession,
	openDisks,
	Serving,
	type ServingOptions,
	SHUTDOWN_PATIENCE_MS,
	unknownSession,
	writtenBytes,
} from "./serving.js";
import { sessionInfo } from "./session-info.js";
import type { SessionRecord } from "./session-record.js";
import type { StoredSession } from "./session-store.js";
import { Turns } from "./turns.js";
import { urlHost } from "./url-host.js";

export interface PublisherOptions extends ServingOptions {
	ports: () => { nfsPort: number; mountPort: number; metricsPort?: number };
	/** true while a client is connected that used this session: its VM may be running */
	inUse: (session: ServedSession) => boolean;
	/** where the disks of a session are over NBD */
	nbd: (record: SessionRecord) => NbdDisk[];
}

const SESSION_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export class Publisher {
	private readonly serving: Serving;
	private readonly turns = new Turns();

	constructor(private readonly options: PublisherOptions) {
		this.serving = new Serving(options);
	}

	/** Sessions that are served or should be. */
	get count(): number {
		return this.serving.count;
	}

	/** Nothing is served and nothing is about to be. */
	get idle(): boolean {
		return this.count === 0 && this.turns.none;
	}

	servingSessions(): OpenSession[] {
		return [...this.serving.open.values()];
	}

	/** Names of sessions that should be served and cannot be. */
	brokenNames(): string[] {
		return [...this.serving.broken.keys()];
	}

	cacheStats() {
		return this.serving.cacheStats();
	}

	/** Opens every session that was being served on this address. */
	resume(): Promise<void> {
		return this.serving.resume();
	}

	publish(params: PublishParams): Promise<PublishResult> {
		return this.turns.take(things(params.repository, params.session), async () => {
			const started = performance.now();
			if (params.key !== undefined) this.options.keys.add(params.key);
			const { opened, continued } = await this.makeOrContinue(params);
			const { record, tree } = opened;
			return {
				session: record.name,
				url: `nfs://${urlHost(this.options.listen)}/springback/${record.name}`,
				...this.options.ports(),
				nbd: this.options.nbd(record),
				files: tree
					.list(tree.root, 0n, 1000)
					.entries.map((entry) => Buffer.from(entry.name, "latin1").toString("utf8")),
				point: record.point,
				vm: record.vm,
				continued,
				milliseconds: Math.round((performance.now() - started) * 10) / 10,
			};
		});
	}

	private async makeOrContinue(params: PublishParams): Promise<{ opened: OpenSession; continued: boolean }> {
		const { store } = this.options;
		if (params.session !== undefined && !SESSION_NAME.test(params.session))
			throw new ControlError(
				"USAGE",
				`session name "${params.session}": use 1 to 64 letters, digits, ".", "_" or "-", not starting with a sign`,
			);
		const existing = params.session === undefined ? undefined : store.find(params.session);
		if (existing) {
			await this.refuseOtherPoint(existing.record, params);
			const open = this.serving.open.get(existing.record.name);
			if (open) {
				refuseOtherRules(open.record, params);
				return { opened: open, continued: true };
			}
			if (existing.record.state === "open" && existing.record.listen !== this.options.listen)
				throw new ControlError(
					"USAGE",
					`session "${existing.record.name}" is served on ${existing.record.listen}; use --listen ${existing.record.listen} or another name`,
				);
			existing.record.listen = this.options.listen;
			existing.record.ownerUid = params.ownerUid;
			existing.record.readOnly = params.readOnly === true;
			existing.record.privilegedPorts = params.privilegedPorts === true || existing.record.privilegedPorts;
			existing.record.sync = params.sync === true || existing.record.sync;
			return { opened: await this.serving.serve(existing), continued: true };
		}
		return { opened: await this.make(params), continued: false };
	}

	/** `--session NAME` continues what that session is; another VM or an explicitly different point is a mistake. */
	private async refuseOtherPoint(record: SessionRecord, params: PublishParams): Promise<void> {
		const at = params.spec.indexOf("@");
		const vm = at < 0 ? params.spec : params.spec.slice(0, at);
		const explicit = at >= 0 && params.spec.slice(at + 1) !== "latest";
		const other = vm !== record.vm || (explicit && (await this.pointOf(params)).id !== record.point);
		if (other)
			throw new ControlError(
				"USAGE",
				`session "${record.name}" is of ${record.vm}@${record.point.slice(0, 8)} (${record.pointTime}); continue it as "${record.vm}", or use another --session name`,
			);
	}

	private async pointOf(params: PublishParams): Promise<Point> {
		const repository = await this.serving.repository(params.repository);
		return repository.resolve(params.spec);
	}

	private async make(params: PublishParams): Promise<OpenSession> {
		const { store, listen, now, nowNs } = this.options;
		const repository = await this.serving.repository(params.repository);
		const point = await repository.resolve(params.spec);
		const newRecord = (name: string, uuid: Buffer, number: number): SessionRecord => ({
			version: 1,
			uuid: uuid.toString("hex"),
			name,
			number,
			state: "open",
			named: params.session !== undefined,
			repository: params.repository,
			repositoryId: repository.id,
			point: point.id,
			pointTime: point.time,
			vm: point.vm,
			disks: point.disks,
			created: now().toISOString(),
			listen,
			clients: params.clients?.length ? params.clients : LOOPBACK,
			sync: params.sync === true,
			ownerUid: params.ownerUid,
			readOnly: params.readOnly === true,
			privilegedPorts: params.privilegedPorts === true,
			unprotectedSince: null,
			lastWrite: null,
			writtenBytes: 0,
		});
		const images = await openDisks(repository, point);
		try {
			const folder = await sessionFolder(point, (name) => repository.extraFile(point, name), images);
			return await store.exclusively(async () => {
				const name = params.session ?? this.freeName(point);
				const { directory, uuid, number } = store.allocate(params.redirect);
				const tree = await createSession({
					directory,
					uuid,
					bases: bases(images),
					seed: folder,
					uid: params.ownerUid,
					gid: 0,
					now: nowNs,
					memory: this.serving.memory,
				});
				try {
					const stored = { directory, record: newRecord(name, uuid, number) };
					await this.serving.noteUse(repository, point, stored);
					store.save(stored);
					return this.serving.add(stored, tree, images);
				} catch (error) {
					await tree.close();
					throw error;
				}
			});
		} catch (error) {
			await Promise.all(images.map((image) => image.close()));
			throw error;
		}
	}

	/** VM name and point time, made fit for an export path and unique. */
	private freeName(point: Point): string {
		const stem = `${point.vm.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "") || "vm"}`.slice(0, 40);
		const base = `${stem}-${point.time.replaceAll(":", "")}`;
		const taken = new Set(this.options.store.list().sessions.map((session) => session.record.name));
		for (let i = 1; ; i++) {
			const name = i === 1 ? base : `${base}-${i}`;
			if (!taken.has(name)) return name;
		}
	}

	/** Stops serving and keeps the data; a session nobody named and nobody wrote to leaves nothing behind. */
	close(name: string): Promise<CloseResult> {
		return this.turns.take(this.thingsOf(name), async () => {
			// Of a session that is not served nobody knows whether it was written to.
			const unknown = this.serving.broken.has(name);
			const stored = await this.serving.stop(name);
			if (stored.record.named || stored.record.lastWrite !== null || unknown) {
				stored.record.state = "parked";
				this.options.store.save(stored);
				return { session: name, outcome: "parked" as const, ending: this.count === 0 };
			}
			this.options.store.remove(stored.directory);
			await this.serving.dropUse(stored);
			return { session: name, outcome: "removed" as const, ending: this.count === 0 };
		});
	}

	finish(params: FinishParams): Promise<FinishResult> {
		return this.turns.take(this.thingsOf(params.session), async () => {
			const { store, now, inUse, listen } = this.options;
			const open = this.serving.open.get(params.session);
			// The served session's own record: what is on disk lags behind its writes.
			const stored: StoredSession | undefined = open ?? store.find(params.session);
			if (!stored) throw unknownSession(params.session);
			if (!open && stored.record.state === "open" && stored.record.listen !== listen)
				throw new ControlError(
					"USAGE",
					`session "${params.session}" is served on ${stored.record.listen}; use --listen ${stored.record.listen}`,
				);
			if (open) this.serving.note(open);
			// Of a session that should be served and is not, nobody knows what was written last.
			const unknown = !open && stored.record.state === "open";
			const written = stored.record.lastWrite !== null || unknown;
			const how = params.how === "auto" && !written ? "discard" : params.how;
			if (how === "auto")
				throw new ControlError(
					"USAGE",
					`session "${params.session}" ${holds(stored.record)}: say --keep (stop serving, keep them) or --discard --confirm ${params.session}`,
				);
			if (open && inUse(open.served))
				throw new ControlError(
					"IN_USE",
					`session "${params.session}" is in use by a connected client: power the VM off first`,
				);
			if (how === "discard" && written && params.confirm !== params.session)
				throw new ControlError(
					"USAGE",
					`session "${params.session}" of ${stored.record.created} ${holds(stored.record)}: discarding them wants the name again: --discard --confirm ${params.session}`,
				);
			if (open || this.serving.broken.has(params.session)) await this.serving.stop(params.session);
			const { writtenBytes, lastWrite, created } = stored.record;
			const facts = { session: params.session, written: writtenBytes, lastWrite, created };
			if (how === "keep") {
				stored.record.state = "parked";
				store.save(stored);
				return { ...facts, outcome: "parked" as const };
			}
			if (!written || how === "moved") {
				store.remove(stored.directory);
				await this.serving.dropUse(stored);
				return { ...facts, outcome: "removed" as const };
			}
			await store.exclusively(() => store.discard(stored, now()));
			return { ...facts, outcome: "trash" as const };
		});
	}

	/** Every session known here, served or not. */
	async sessions(): Promise<SessionInfo[]> {
		this.serving.noteAll();
		return sessionInfo(this.options.store, (record) => {
			const open = this.serving.open.get(record.name);
			if (open && open.record.uuid === record.uuid) {
				const usage = open.tree.usage();
				return {
					state: usage.failed ? "failed" : "open",
					error: usage.failure,
					written: writtenBytes(usage),
					disk: usage.diskBytes,
				};
			}
			const broken = this.serving.broken.get(record.name);
			return broken && { state: "failed", error: broken.error };
		});
	}

	/** Keeps the records of served sessions current. Cheap; called every few seconds. */
	noteAll(): void {
		this.serving.noteAll();
	}

	/** A restore point has what was written until then. @param session its UUID @param until UTC */
	noteProtected(session: string, until: string): void {
		this.serving.noteProtected(session, until);
	}

	/** Ends serving of every session without changing what they are: they are open again at the next start. */
	async shutdown(): Promise<void> {
		// A request that waits for a disk that hangs has nothing to lose: what counts is on disk before it is answered.
		await Promise.race([this.turns.idle(), sleep(SHUTDOWN_PATIENCE_MS, undefined, { ref: false })]);
		await this.serving.shutdown();
	}

	private thingsOf(session: string): string[] {
		const record = this.serving.open.get(session)?.record ?? this.options.store.find(session)?.record;
		return things(record?.repository, session);
	}
}

/** What a request needs for itself, as `Turns` knows it. */
const things = (repository: string | undefined, session: string | undefined): string[] => [
	...(repository === undefined ? [] : [`repository ${repository}`]),
	...(session === undefined ? [] : [`session ${session}`]),
];

/** What is being served keeps its rules: asking for others must not be ignored silently. */
function refuseOtherRules(record: SessionRecord, params: PublishParams): void {
	const { name, readOnly, privilegedPorts } = record;
	const first = `session "${name}" is served already`;
	const again = `springback finish ${name} --keep first`;
	if (readOnly !== (params.readOnly === true))
		throw new ControlError("USAGE", `${first}, ${readOnly ? "read-only" : "writable"}: ${again}`);
	if (params.privilegedPorts === true && !privilegedPorts)
		throw new ControlError("USAGE", `${first}, to clients from any port: ${again}`);
}

function holds({ lastWrite, writtenBytes }: SessionRecord): string {
	return lastWrite === null ? "may hold writes" : `holds ${writtenBytes} bytes written, last write ${lastWrite}`;
}
