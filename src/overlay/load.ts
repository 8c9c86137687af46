/**
 * Loading a checkpoint into memory: everything but the extents.
 */
import { sys, xxh3 } from "../../native/index.js";
import { getU64 } from "./codec.js";
import { corrupt } from "./errors.js";
import { PAGE } from "./geometry.js";
import { decodeInode } from "./inode.js";
import type { Entry } from "./page.js";
import type { PageStore } from "./page-store.js";
import type { Segments } from "./segments.js";
import type { State } from "./state.js";
import type { Superblock } from "./superblock.js";
import { idOf, keyOf, scan, TYPE } from "./tree.js";

export const loadCheckpoint = (s: Superblock, store: PageStore, state: State, segments: Segments): void => {
	store.resize(s.pages);
	s.maps.forEach((map, index) => {
		if (!map) return;
		const bytes = Buffer.alloc(PAGE);
		const got = sys.pread(store.fd, bytes, map.page * PAGE);
		if (got !== PAGE || xxh3(bytes, store.secret) !== map.checksum) {
			throw corrupt(store.path, map.page * PAGE, "a page of the free map");
		}
		store.loadMap(index, bytes);
	});
	state.epoch = s.epoch;
	state.nextInode = s.nextInode;
	state.requests.next = s.nextRequest;
	state.clock = s.clock;
	state.lastWrite = s.lastWrite;
	segments.total = s.segments;
	segments.plan = s.plan;
	for (const entry of scan(store, s.root, keyOf(TYPE.presence, 0), Number.POSITIVE_INFINITY)) {
		loadEntry(entry, state, segments);
	}
	segments.start();
};

const loadEntry = (entry: Entry, state: State, segments: Segments): void => {
	const value = Buffer.from(entry.source.subarray(entry.at, entry.at + entry.length));
	const id = idOf(entry.a);
	switch (Math.floor(entry.a / keyOf(1, 0))) {
		case TYPE.presence:
			state.presenceOf(id).chunks.set(entry.b, value);
			break;
		case TYPE.inode: {
			if (entry.b === 0) {
				const node = decodeInode(value);
				state.nodes.set(id, node);
				break;
			}
			const node = state.nodes.get(id);
			if (node) node.target = Buffer.concat([node.target ?? Buffer.alloc(0), value]);
			break;
		}
		case TYPE.entry:
			state.directory(id).put(value.subarray(8).toString("latin1"), getU64(value, 0), entry.b);
			break;
		case TYPE.request:
			state.requests.load(entry.b, value.subarray(0, 16).toString("latin1"), value.subarray(16));
			break;
		case TYPE.segment: {
			const live = value.readUInt32LE(0);
			segments.live.set(entry.b, live);
			segments.liveTotal += live;
			break;
		}
	}
};
