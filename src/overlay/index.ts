/**
 * Making and opening sessions. Everything else of this room is behind `SessionTree`.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type SystemError, sys } from "../../native/index.js";
import { seedOf } from "./batch.js";
import type { CreateSessionOptions, InodeId, OpenSessionOptions, SeedEntry, SessionTree } from "./contract.js";
import { OverlayError } from "./contract.js";
import { Engine, type EngineOptions } from "./engine.js";
import { isNoSpace, noSpace } from "./errors.js";
import { alignUp, DEFAULT_SEGMENT, MIN_SEGMENT, PAGE, SUPERBLOCK } from "./geometry.js";
import { loadCheckpoint } from "./load.js";
import { lockSession, probe } from "./lock.js";
import { createNode, newNode } from "./namespace.js";
import { NAMESPACE_META, PUT_INODE } from "./operations.js";
import { Recovery } from "./recovery.js";
import { ROOT, Session } from "./session.js";
import { readSessionFile, type SessionFile, writeSessionFile } from "./session-file.js";
import { readSuperblock } from "./superblock.js";
import { EMPTY_ROOT } from "./tree.js";

export * from "./contract.js";
export { OverlayMemory } from "./memory.js";

/** The clock may have given out timestamps that an unclean end did not record. */
const UNCLEAN_STEP = 1_000_000_000n;

const random64 = (): bigint => randomBytes(8).readBigUInt64LE();
const nextGeneration = (previous: number): number => previous + 1 + (randomBytes(4).readUInt32LE() >>> 1);

/**
 * Makes a session in an existing empty directory and opens it. Throws OverlayError: EINVAL for a file system that
 * cannot hold one, EEXIST when there is a session, ENOSPC, EIO.
 */
export const createSession = async (options: CreateSessionOptions): Promise<SessionTree> => {
	const { directory } = options;
	refuseExisting(directory);
	const lock = explained(directory, () => {
		probe(directory);
		return lockSession(directory);
	});
	const session: SessionFile = {
		uuid: Buffer.from(options.uuid),
		secret: random64(),
		segmentBytes: segmentSize(options.segmentBytes),
		bases: options.bases.map(({ base, size }) => ({ baseSize: base.size, size })),
	};
	const engine = build({ ...options, lock, session });
	try {
		await format(engine, options, session);
		writeSessionFile(directory, session);
		return new Session(engine, options.bases, options.now);
	} catch (error) {
		await engine.dispose().catch(() => undefined);
		throw asOverlayError(directory, error);
	}
};

/**
 * Opens a session, recovering what a crash left. Throws OverlayError: ENOENT, EINVAL (bases do not fit, newer
 * format), ECORRUPT, ENOSPC, EIO (also when another process has it open).
 */
export const openSession = async (options: OpenSessionOptions): Promise<SessionTree> => {
	const { directory, bases } = options;
	const session = readSessionFile(directory);
	checkBases(directory, session, options);
	const lock = explained(directory, () => lockSession(directory));
	const engine = build({ ...options, lock, session });
	try {
		await recover(engine, session);
		return new Session(engine, bases, options.now);
	} catch (error) {
		await engine.dispose().catch(() => undefined);
		throw asOverlayError(directory, error);
	}
};

const build = (options: EngineOptions): Engine => {
	try {
		return new Engine(options);
	} catch (error) {
		sys.close(options.lock);
		throw asOverlayError(options.directory, error);
	}
};

const segmentSize = (asked: number | undefined): number =>
	Math.max(MIN_SEGMENT, alignUp(asked ?? DEFAULT_SEGMENT, PAGE));

const refuseExisting = (directory: string): void => {
	try {
		sys.close(sys.open(`${directory}/session`, constants.O_RDONLY));
	} catch (error) {
		if ((error as SystemError).code === "ENOENT") return;
		throw asOverlayError(directory, error);
	}
	throw new OverlayError("EEXIST", `${directory} already holds a session: open it, or choose another directory`);
};

const format = async (engine: Engine, options: CreateSessionOptions, session: SessionFile): Promise<void> => {
	sys.ftruncate(engine.logFd, 0);
	sys.ftruncate(engine.indexFd, 0);
	sys.pwrite(engine.indexFd, Buffer.alloc(2 * SUPERBLOCK), 0);
	if (!engine.reserve.restore()) throw noSpace();
	const generation = nextGeneration(0);
	engine.start({ generation, seed: seedOf(session.secret, generation) }, { root: EMPTY_ROOT, number: 0, maps: [] });
	const { segments, state } = engine;
	segments.plan = [segments.take()];
	await segments.blocks.prepare(segments.plan[0]);
	segments.active = segments.plan[0];
	await plant(engine, options);
	// What the session begins with is no client's write.
	state.lastWrite = 0n;
	await engine.checkpointer.full();
};

/** The root and the seeds. */
const plant = async (engine: Engine, options: CreateSessionOptions): Promise<void> => {
	const { log } = engine;
	const { uid, gid, now } = options;
	const common = { stable: false, privileged: true };
	await log.submit({
		...common,
		meta: NAMESPACE_META,
		payload: 0,
		apply: (tx) => {
			const time = tx.state.stamp(now());
			const node = newNode(ROOT, { kind: "directory", mode: 0o755, uid, gid }, ROOT, time);
			tx.log({ type: PUT_INODE, node });
		},
	});
	const session = new Session(engine, options.bases, now);
	for (const seed of options.seed) {
		const directory = seedParent(session, seed);
		const name = seed.path[seed.path.length - 1];
		const disk = seed.base === undefined ? undefined : options.bases[seed.base];
		if (seed.base !== undefined && !disk)
			throw new OverlayError("EINVAL", `seed ${name}: there is no base ${seed.base}`);
		const base = disk && { index: seed.base!, limit: Math.min(disk.base.size, disk.size) };
		const spec = { kind: seed.kind, mode: seed.mode, uid, gid, size: disk?.size };
		const node = await log.submit({
			...common,
			meta: NAMESPACE_META + name.length,
			payload: 0,
			apply: (tx) => createNode(tx, now(), directory, name, spec, undefined, base),
		});
		if (seed.content) await session.write(node.id, 0, seed.content, false);
	}
};

const seedParent = (session: Session, seed: SeedEntry): InodeId => {
	let directory: InodeId = ROOT;
	for (const part of seed.path.slice(0, -1)) {
		const next = session.lookup(directory, part);
		if (next === undefined)
			throw new OverlayError("ENOENT", `seed ${seed.path.join("/")}: ${part} comes later or never`);
		directory = next;
	}
	return directory;
};

const checkBases = (directory: string, session: SessionFile, options: OpenSessionOptions): void => {
	if (session.bases.length !== options.bases.length) {
		const counts = `${session.bases.length} disks, ${options.bases.length} were given`;
		throw new OverlayError("EINVAL", `session ${directory} lies over ${counts}: open it over its own restore point`);
	}
	session.bases.forEach(({ baseSize }, index) => {
		const { size } = options.bases[index].base;
		if (size === baseSize) return;
		throw new OverlayError(
			"EINVAL",
			`session ${directory}: disk ${index} has ${size} bytes, was made over ${baseSize}: open it over its own restore point`,
		);
	});
};

const recover = async (engine: Engine, session: SessionFile): Promise<void> => {
	const { directory, indexFd, logFd, reserve, segments, state, store } = engine;
	const last = readSuperblock(indexFd, `${directory}/index`, session.uuid, session.secret);
	loadCheckpoint(last, store, state, segments);
	const old = { generation: last.generation, seed: seedOf(session.secret, last.generation) };
	const generation = nextGeneration(last.generation);
	const fresh = { generation, seed: seedOf(session.secret, generation) };
	const replayed = await new Recovery(directory, logFd, state, segments, reserve, last, old, fresh).run();
	if (!last.clean) state.clock += UNCLEAN_STEP;
	engine.start(fresh, { root: last.root, number: last.checkpoint, maps: last.maps });
	const { log } = engine;
	log.sequence = replayed.sequence;
	log.synced = replayed.sequence - 1;
	segments.active = replayed.active;
	log.head = replayed.head;
	await engine.checkpointer.full();
};

const explained = <T>(directory: string, act: () => T): T => {
	try {
		return act();
	} catch (error) {
		throw asOverlayError(directory, error);
	}
};

const asOverlayError = (directory: string, error: unknown): unknown => {
	if (error instanceof OverlayError || typeof (error as SystemError).syscall !== "string") return error;
	if (isNoSpace(error)) return noSpace(error);
	const { code, syscall, path } = error as SystemError;
	return new OverlayError("EIO", `session ${directory}: ${syscall} ${path ?? ""} failed (${code})`, { cause: error });
};
