/**
 * The instant of a checkpoint: what is to be merged is taken out of the state, and new changes gather apart.
 */
import { Writer } from "./codec.js";
import type { InodeId } from "./contract.js";
import { Delta } from "./delta.js";
import { encodeInode } from "./inode.js";
import type { Log } from "./log.js";
import type { Change } from "./merge.js";
import type { State } from "./state.js";
import { keyOf, TYPE } from "./tree.js";

const TARGET_PART = 2048;

export interface Frozen {
	delta: Delta;
	presence: Change[];
	/** inode records; `held` is filled in when the extents are merged */
	nodes: Change[];
	/** content bytes of those inodes as the tree knows them: by then some of them may be gone */
	held: Map<InodeId, number>;
	entries: Change[];
	requests: Change[];
	epoch: number;
	nextInode: number;
	nextRequest: number;
	clock: bigint;
	lastWrite: bigint;
	/** where replay starts after this checkpoint */
	position: number;
	sequence: number;
	plan: number[];
}

/** Must run while no batch is half done. `newEpoch`: what is written from now on belongs to the next epoch. */
export const freeze = (state: State, log: Log, newEpoch: boolean): Frozen => {
	if (newEpoch) state.epoch++;
	const frozen: Frozen = {
		delta: state.delta,
		presence: presenceChanges(state),
		nodes: nodeChanges(state),
		held: new Map([...state.dirtyNodes].map((id) => [id, state.nodes.get(id)?.held ?? 0])),
		entries: entryChanges(state),
		requests: requestChanges(state),
		epoch: state.epoch,
		nextInode: state.nextInode,
		nextRequest: state.requests.next,
		clock: state.clock,
		lastWrite: state.lastWrite,
		position: log.position,
		sequence: log.sequence,
		plan: log.segments.extend(log.active),
	};
	state.frozen = state.delta;
	state.delta = new Delta(state.segmentBytes);
	state.dirtyNodes = new Set();
	state.dirtyEntries = new Map();
	state.dirtyCount = 0;
	return frozen;
};

const sorted = (ids: Iterable<InodeId>): InodeId[] => [...ids].sort((x, y) => x - y);

const presenceChanges = (state: State): Change[] => {
	const changes: Change[] = [];
	for (const id of sorted(state.dirtyNodes)) {
		const presence = state.presence.get(id);
		if (!presence) continue;
		const a = keyOf(TYPE.presence, id);
		const removed = !state.nodes.has(id);
		for (const chunk of sorted(removed ? presence.chunks.keys() : presence.dirty)) {
			const bitmap = presence.chunks.get(chunk);
			changes.push({ a, b: chunk, value: removed || !bitmap ? undefined : Buffer.from(bitmap) });
		}
		presence.dirty.clear();
		if (removed) state.presence.delete(id);
	}
	return changes;
};

const nodeChanges = (state: State): Change[] => {
	const changes: Change[] = [];
	for (const id of sorted(state.dirtyNodes)) {
		const a = keyOf(TYPE.inode, id);
		const node = state.nodes.get(id);
		changes.push({ a, b: 0, value: node && encodeInode(node, false) });
		const target = node?.target ?? Buffer.alloc(0);
		for (let part = 1; part <= 2; part++) {
			const bytes = target.subarray((part - 1) * TARGET_PART, part * TARGET_PART);
			changes.push({ a, b: part, value: bytes.length > 0 ? bytes : undefined });
		}
	}
	return changes;
};

const entryChanges = (state: State): Change[] => {
	const changes: Change[] = [];
	for (const id of sorted(state.dirtyEntries.keys())) {
		const a = keyOf(TYPE.entry, id);
		const directory = state.directories.get(id);
		for (const cookie of sorted(state.dirtyEntries.get(id) ?? [])) {
			const entry = directory?.at(cookie);
			changes.push({
				a,
				b: cookie,
				value:
					entry &&
					new Writer(Buffer.alloc(8 + entry.name.length)).u64(entry.id).bytes(Buffer.from(entry.name, "latin1")).buffer,
			});
		}
	}
	return changes;
};

const requestChanges = (state: State): Change[] => {
	const { requests } = state;
	const changes = sorted(requests.dirty).map((number): Change => {
		const request = requests.at(number);
		const value = request && Buffer.concat([Buffer.from(request.key, "latin1"), request.reply]);
		return { a: keyOf(TYPE.request, 0), b: number, value };
	});
	requests.dirty.clear();
	return changes;
};
