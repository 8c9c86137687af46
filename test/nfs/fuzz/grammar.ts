/**
 * Requests by the grammar of RPC, NFSv3, MOUNT and portmap, and mutations that keep enough of it to get past the first
 * check. Everything comes from one seeded generator, so a seed is a campaign.
 */
import { MOUNT, NFS, P, PORTMAP, sattr } from "../nfs-client.js";
import { AUTH_NONE, authSys, encodeCall, xdr } from "../raw-client.js";

/** A number from 0 up to but without `below`. */
export type Random = (below: number) => number;

/** mulberry32 */
export function generator(seed: number): Random {
	let state = seed;
	return (below) => {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
	};
}

export interface Input {
	record: Buffer;
	xid: number;
	/** the NFS procedure of a call that nothing was done to */
	procedure?: number;
	/** the header says what it is: there must be an answer */
	wellFormed: boolean;
}

const NAMES = [
	...["a", "b", "d", ".", "..", "", "/", "a/b", "../a", "..\0", "\xff\x00", "\xc3\x28\xff", ".lck-0123456789abcdef"],
	...["x".repeat(255), "x".repeat(256), "y".repeat(70_000), "disk0-flat.vmdk", "vm.vmx"],
];
const PATHS = [
	"//springback/one",
	"/springback",
	"/springback/../etc",
	"/",
	"",
	"/springback/one/d/..",
	"z".repeat(1025),
];
const WORDS = [0, 1, 2, 3, 64, 65, 255, 256, 4096, 65536, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
const HYPERS = [0n, 1n, 4096n, 2n ** 31n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];
/** most bytes that a SETATTR or WRITE of a well-formed call reaches to: files stay small, odd offsets come by HYPERS */
const FILE_BYTES = 1_000_000;

const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)];

function credential(random: Random): Buffer {
	switch (random(12)) {
		case 0:
			return AUTH_NONE;
		case 1:
			return xdr()
				.u32(random(8))
				.opaque(Buffer.alloc(random(500), random(256)))
				.done();
		case 2:
			return authSys(
				pick(random, WORDS),
				pick(random, WORDS),
				Array.from({ length: random(20) }, () => random(1000)),
			);
		default:
			return authSys();
	}
}

function nfsArguments(random: Random, procedure: number, handles: readonly Buffer[]): Buffer {
	const words = xdr();
	if (procedure === P.NULL) return words.done();
	const handle = () => words.opaque(random(12) === 0 ? oddHandle(random, handles) : pick(random, handles));
	const name = () => words.opaque(random(3) ? pick(random, NAMES) : `n${random(40)}`);
	const hyper = () => words.u64(random(2) ? random(FILE_BYTES) : pick(random, HYPERS));
	const set = () =>
		sattr({
			mode: random(4096),
			size: random(3) ? undefined : random(4) ? BigInt(random(FILE_BYTES)) : pick(random, HYPERS),
		});
	handle();
	switch (procedure) {
		case P.SETATTR:
			return words.raw(set()).u32(random(3)).u64(pick(random, HYPERS)).done();
		case P.LOOKUP:
		case P.REMOVE:
		case P.RMDIR:
			return name().done();
		case P.ACCESS:
			return words.u32(pick(random, WORDS)).done();
		case P.READ:
		case P.COMMIT:
			return hyper().u32(pick(random, WORDS)).done();
		case P.WRITE: {
			const data = Buffer.alloc(random(3000), 1);
			const count = random(5) ? data.length : pick(random, WORDS);
			const offset = random(20) ? BigInt(random(FILE_BYTES)) : pick(random, HYPERS);
			return words.u64(offset).u32(count, random(4)).opaque(data).done();
		}
		case P.CREATE:
			return name().u32(random(4)).raw(set()).done();
		case P.MKDIR:
			return name().raw(set()).done();
		case P.SYMLINK:
			return name()
				.raw(set())
				.opaque(Buffer.alloc(random(5000), 0x61))
				.done();
		case P.MKNOD:
			return name().u32(random(9)).raw(set()).u64(pick(random, HYPERS)).done();
		case P.RENAME:
			name();
			handle();
			return name().done();
		case P.LINK:
			handle();
			return name().done();
		case P.READDIR:
			return words.u64(pick(random, HYPERS)).u64(pick(random, HYPERS)).u32(pick(random, WORDS)).done();
		case P.READDIRPLUS:
			return words
				.u64(pick(random, HYPERS))
				.u64(pick(random, HYPERS))
				.u32(pick(random, WORDS), pick(random, WORDS))
				.done();
		default:
			return words.done();
	}
}

/** Of any length, or a good one with bytes changed. */
function oddHandle(random: Random, handles: readonly Buffer[]): Buffer {
	if (random(2)) return Buffer.alloc(random(70), random(256));
	const handle = Buffer.from(pick(random, handles));
	handle[random(handle.length)] ^= 1 << random(8);
	return handle;
}

/** One to three changes: a word replaced, a bit flipped, cut off, made longer, bytes put in. */
export function mutate(random: Random, record: Buffer): Buffer {
	let bytes = Buffer.from(record);
	for (let changes = random(3); changes >= 0; changes--) {
		const at = random(Math.max(1, bytes.length >> 2)) << 2;
		const kind = random(5);
		if (kind === 0 && at + 4 <= bytes.length) bytes.writeUInt32BE(pick(random, WORDS), at);
		else if (kind === 1 && bytes.length > 0) bytes[random(bytes.length)] ^= 1 << random(8);
		else if (kind === 2) bytes = bytes.subarray(0, random(bytes.length + 1));
		else if (kind === 3) bytes = Buffer.concat([bytes, Buffer.alloc(random(64), random(256))]);
		else bytes = Buffer.concat([bytes.subarray(0, at), Buffer.alloc(random(9), 0xff), bytes.subarray(at)]);
	}
	return bytes;
}

/** The next call for a connection: to portmap, or to NFS and sometimes MOUNT. */
export function nextInput(random: Random, portmap: boolean, handles: readonly Buffer[]): Input {
	// Few, so that some are replays.
	const xid = random(1000);
	const options = { xid, credential: credential(random) };
	const changed = random(3) > 0;
	const shape = (args: Buffer) => (changed ? mutate(random, args) : args);
	let record: Buffer;
	let procedure: number | undefined;
	if (portmap) record = encodeCall(PORTMAP, 2 + random(3), random(13), mutate(random, Buffer.alloc(40)), options);
	else if (random(10) === 0) {
		const path = xdr().opaque(pick(random, PATHS)).done();
		record = encodeCall(MOUNT, 1 + random(3), random(7), shape(path), options);
	} else {
		procedure = random(22);
		record = encodeCall(NFS, 3, procedure, shape(nfsArguments(random, procedure, handles)), options);
	}
	// What hits the header often ends the connection, and with it what was sent after.
	const wellFormed = random(10) > 0;
	if (!wellFormed) record = mutate(random, record);
	return { record, xid, wellFormed, procedure: changed || !wellFormed ? undefined : procedure };
}
