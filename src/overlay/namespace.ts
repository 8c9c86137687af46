/**
 * Names and attributes: what each operation demands, and what it changes. Every function here runs inside a
 * batch's transaction: it throws OverlayError before the first effect, or has all its effects.
 */
import type { CreateSpec, InodeChange, InodeId, Prior, RequestRecord } from "./contract.js";
import { OverlayError } from "./contract.js";
import type { Entry } from "./directory.js";
import { NAME_MAX, REPLY_MAX, TARGET_MAX } from "./geometry.js";
import type { Node } from "./inode.js";
import { DELETE_ENTRY, DELETE_INODE, PUT_ENTRY, PUT_INODE, REQUEST, TRUNCATE } from "./operations.js";
import { END, type State } from "./state.js";
import type { Transaction } from "./transaction.js";

export const FIRST_COOKIE = 3;
const LINK_MAX = 65000;
const DIRECTORY_SIZE = 4096;

const fail = (code: OverlayError["code"], message: string): never => {
	throw new OverlayError(code, message);
};

export const nodeOf = (state: State, id: InodeId): Node =>
	state.nodes.get(id) ?? fail("ESTALE", `inode ${id} does not exist any more`);

export const directoryOf = (state: State, id: InodeId): Node => {
	const node = nodeOf(state, id);
	return node.kind === "directory" ? node : fail("ENOTDIR", `inode ${id} is not a directory`);
};

export const checkName = (name: string): void => {
	if (name.length > NAME_MAX) fail("ENAMETOOLONG", `a name of ${name.length} bytes; at most ${NAME_MAX}`);
	if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) fail("EINVAL", "not a valid name");
};

const entryOf = (state: State, directory: InodeId, name: string): Entry => {
	checkName(name);
	return state.directories.get(directory)?.get(name) ?? fail("ENOENT", `no entry ${JSON.stringify(name)}`);
};

const isEmpty = (state: State, id: InodeId): boolean => (state.directories.get(id)?.size ?? 0) === 0;

const record = (tx: Transaction, request: RequestRecord | undefined): void => {
	if (request) tx.log({ type: REQUEST, key: request.key.padEnd(16, "\0"), reply: request.reply });
};

export const checkRequest = (request: RequestRecord | undefined): void => {
	if (!request) return;
	if (request.key.length > 16) fail("EINVAL", "a request key has at most 16 bytes");
	if (request.reply.length > REPLY_MAX) fail("EINVAL", `a stored reply has at most ${REPLY_MAX} bytes`);
};

/** A fresh inode; times are `time`. */
export const newNode = (id: InodeId, spec: CreateSpec, parent: InodeId, time: bigint): Node => ({
	id,
	kind: spec.kind,
	mode: spec.mode & 0o7777,
	nlink: spec.kind === "directory" ? 2 : 1,
	uid: spec.uid,
	gid: spec.gid,
	rdevMajor: spec.rdevMajor ?? 0,
	rdevMinor: spec.rdevMinor ?? 0,
	size: spec.kind === "directory" ? DIRECTORY_SIZE : (spec.target?.length ?? spec.size ?? 0),
	atime: time,
	mtime: time,
	ctime: time,
	base: -1,
	baseLimit: 0,
	parent: spec.kind === "directory" ? parent : 0,
	nextCookie: FIRST_COOKIE,
	held: 0,
	verifier: spec.verifier ? Buffer.from(spec.verifier) : undefined,
	target: spec.target ? Buffer.from(spec.target) : undefined,
	shrinks: [],
});

export const createNode = (
	tx: Transaction,
	now: bigint,
	directory: InodeId,
	name: string,
	spec: CreateSpec,
	request?: RequestRecord,
	base?: { index: number; limit: number },
): Node => {
	const { state } = tx;
	const parent = directoryOf(state, directory);
	checkName(name);
	checkRequest(request);
	if (state.directories.get(directory)?.get(name)) fail("EEXIST", `${JSON.stringify(name)} exists`);
	if ((spec.target?.length ?? 0) > TARGET_MAX) fail("ENAMETOOLONG", `a link target has at most ${TARGET_MAX} bytes`);
	if ((spec.size ?? 0) > END) fail("EFBIG", "the size is too large");
	if (spec.verifier && spec.verifier.length !== 8) fail("EINVAL", "a create verifier has 8 bytes");
	if (spec.kind === "directory" && parent.nlink >= LINK_MAX) fail("EMLINK", "too many directories in one");
	const time = state.stamp(now);
	const node = newNode(state.nextInode, spec, directory, time);
	if (base) {
		node.base = base.index;
		node.baseLimit = base.limit;
	}
	tx.log({ type: PUT_INODE, node });
	putEntry(tx, parent, name, node.id, time, spec.kind === "directory" ? 1 : 0);
	record(tx, request);
	return node;
};

/** Adds an entry and the parent's changes. */
const putEntry = (tx: Transaction, parent: Node, name: string, id: InodeId, time: bigint, links: number): void => {
	const cookie = parent.nextCookie;
	tx.log({ type: PUT_ENTRY, directory: parent.id, cookie, id, name });
	touch(tx, parent, time, links, cookie + 1);
};

const touch = (tx: Transaction, parent: Node, time: bigint, links: number, nextCookie = parent.nextCookie): void =>
	tx.log({
		type: PUT_INODE,
		node: { ...parent, nlink: parent.nlink + links, nextCookie, mtime: time, ctime: time },
	});

/** One name less; without names the inode goes. */
const unlinkNode = (tx: Transaction, node: Node, time: bigint): void => {
	if (node.kind === "directory" || node.nlink <= 1) tx.log({ type: DELETE_INODE, id: node.id });
	else tx.log({ type: PUT_INODE, node: { ...node, nlink: node.nlink - 1, ctime: time } });
};

export const removeNode = (
	tx: Transaction,
	now: bigint,
	directory: InodeId,
	name: string,
	wantDirectory: boolean,
	request?: RequestRecord,
): void => {
	const { state } = tx;
	const parent = directoryOf(state, directory);
	const entry = entryOf(state, directory, name);
	checkRequest(request);
	const node = nodeOf(state, entry.id);
	const isDirectory = node.kind === "directory";
	if (isDirectory && !wantDirectory) fail("EISDIR", `${JSON.stringify(name)} is a directory`);
	if (!isDirectory && wantDirectory) fail("ENOTDIR", `${JSON.stringify(name)} is not a directory`);
	if (isDirectory && !isEmpty(state, node.id)) fail("ENOTEMPTY", `${JSON.stringify(name)} is not empty`);
	const time = state.stamp(now);
	tx.log({ type: DELETE_ENTRY, directory, cookie: entry.cookie });
	unlinkNode(tx, node, time);
	touch(tx, parent, time, isDirectory ? -1 : 0);
	record(tx, request);
};

export const renameNode = (
	tx: Transaction,
	now: bigint,
	from: InodeId,
	name: string,
	to: InodeId,
	toName: string,
	request?: RequestRecord,
): void => {
	const { state } = tx;
	directoryOf(state, from);
	directoryOf(state, to);
	const source = entryOf(state, from, name);
	checkName(toName);
	checkRequest(request);
	const node = nodeOf(state, source.id);
	const target = state.directories.get(to)?.get(toName);
	if (target?.id === source.id) {
		record(tx, request);
		return;
	}
	const isDirectory = node.kind === "directory";
	const victim = target && nodeOf(state, target.id);
	if (victim) {
		if (isDirectory && victim.kind !== "directory") fail("ENOTDIR", `${JSON.stringify(toName)} is not a directory`);
		if (!isDirectory && victim.kind === "directory") fail("EISDIR", `${JSON.stringify(toName)} is a directory`);
		if (isDirectory && !isEmpty(state, victim.id)) fail("ENOTEMPTY", `${JSON.stringify(toName)} is not empty`);
	}
	if (isDirectory && isWithin(state, to, node.id)) fail("EINVAL", "a directory cannot move into itself");
	if (isDirectory && from !== to && nodeOf(state, to).nlink >= LINK_MAX) fail("EMLINK", "too many directories in one");
	const time = state.stamp(now);
	if (target && victim) {
		tx.log({ type: DELETE_ENTRY, directory: to, cookie: target.cookie });
		unlinkNode(tx, victim, time);
		if (victim.kind === "directory") touch(tx, nodeOf(state, to), time, -1);
	}
	tx.log({ type: DELETE_ENTRY, directory: from, cookie: source.cookie });
	touch(tx, nodeOf(state, from), time, isDirectory ? -1 : 0);
	tx.log({ type: PUT_INODE, node: { ...node, ctime: time, parent: isDirectory ? to : 0 } });
	putEntry(tx, nodeOf(state, to), toName, node.id, time, isDirectory ? 1 : 0);
	record(tx, request);
};

const isWithin = (state: State, directory: InodeId, ancestor: InodeId): boolean => {
	let id = directory;
	for (;;) {
		if (id === ancestor) return true;
		const parent = nodeOf(state, id).parent;
		if (parent === id) return false;
		id = parent;
	}
};

export const linkNode = (
	tx: Transaction,
	now: bigint,
	id: InodeId,
	directory: InodeId,
	name: string,
	request?: RequestRecord,
): void => {
	const { state } = tx;
	const node = nodeOf(state, id);
	directoryOf(state, directory);
	checkName(name);
	checkRequest(request);
	if (node.kind === "directory") fail("EINVAL", "a directory has one name only");
	if (state.directories.get(directory)?.get(name)) fail("EEXIST", `${JSON.stringify(name)} exists`);
	if (node.nlink >= LINK_MAX) fail("EMLINK", "too many links");
	const time = state.stamp(now);
	tx.log({ type: PUT_INODE, node: { ...node, nlink: node.nlink + 1, ctime: time } });
	putEntry(tx, nodeOf(state, directory), name, id, time, 0);
	record(tx, request);
};

export const changeNode = (
	tx: Transaction,
	now: bigint,
	id: InodeId,
	change: InodeChange,
	request?: RequestRecord,
): void => {
	const { state } = tx;
	const node = nodeOf(state, id);
	checkRequest(request);
	if (change.size !== undefined) {
		if (node.kind === "directory") fail("EISDIR", "a directory has no size to set");
		if (node.kind !== "file") fail("EINVAL", "only a file has a size to set");
		if (!(change.size >= 0)) fail("EINVAL", "a size cannot be negative");
		if (change.size > END) fail("EFBIG", "the size is too large");
	}
	const time = state.stamp(now);
	if (change.size !== undefined) tx.log({ type: TRUNCATE, id, size: change.size, epoch: state.epoch, time });
	const current = nodeOf(state, id);
	const at = (set: bigint | "now" | undefined, old: bigint): bigint => (set === "now" ? time : (set ?? old));
	tx.log({
		type: PUT_INODE,
		node: {
			...current,
			mode: (change.mode ?? current.mode) & 0o7777,
			uid: change.uid ?? current.uid,
			gid: change.gid ?? current.gid,
			atime: at(change.atime, current.atime),
			mtime: at(change.mtime, current.mtime),
			ctime: time,
			verifier: undefined,
		},
	});
	record(tx, request);
};

export const priorOf = (node: Node): Prior => ({ size: node.size, mtime: node.mtime, ctime: node.ctime });
