/**
 * What the overlay's tests share: a deterministic base, randomness, a clock, temporary sessions, and a simple model
 * of a session's tree to compare with.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import type { Extent, Image } from "../../src/image/image.js";
import {
	type CreateSessionOptions,
	createSession,
	openSession,
	type SeedEntry,
	type SessionTree,
} from "../../src/overlay/index.js";

/** mulberry32: small, seeded, good enough to choose operations. */
export const random = (seed: number): ((limit: number) => number) => {
	let a = seed >>> 0;
	return (limit) => {
		a = (a + 0x6d2b79f5) >>> 0;
		let x = Math.imul(a ^ (a >>> 15), 1 | a);
		x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
		return Math.floor((((x ^ (x >>> 14)) >>> 0) / 4294967296) * limit);
	};
};

/** Content that differs everywhere and is known from offset and salt alone. */
export const pattern = (offset: number, length: number, salt: number): Buffer => {
	const out = Buffer.alloc(length);
	for (let i = 0; i < length; i++) {
		const at = offset + i;
		out[i] = (at ^ (at >>> 8) ^ (at >>> 16) ^ Math.imul(salt, 31)) & 0xff || 1;
	}
	return out;
};

export class PatternBase implements Image {
	reads = 0;
	borrows = 0;
	constructor(
		readonly size: number,
		readonly salt = 7,
		readonly later = false,
	) {}
	read(offset: number, target: Buffer): void | Promise<void> {
		if (offset + target.length > this.size) throw new RangeError("beyond the base");
		this.reads++;
		pattern(offset, target.length, this.salt).copy(target);
		return this.later ? Promise.resolve() : undefined;
	}
	borrow(offset: number, length: number) {
		this.borrows++;
		return [{ data: pattern(offset, length, this.salt), release: () => undefined }];
	}
	extents(offset: number, length: number): Extent[] {
		return [{ offset, length, kind: "data" }];
	}
	async close(): Promise<void> {}
}

/** A clock that the test moves. */
export class TestClock {
	ns = 1_700_000_000_000_000_000n;
	readonly now = (): bigint => {
		this.ns += 1000n;
		return this.ns;
	};
}

/** `memory`: where syncs cost nothing, if there is such a place, for tests that open thousands of sessions. */
export const temporary = (t: Test, memory = false): string => {
	const place = memory && existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
	const directory = mkdtempSync(join(place, "springback-overlay-"));
	t.teardown(() => rmSync(directory, { recursive: true, force: true }));
	return directory;
};

export const DISK = 200_000;
export const SEED: SeedEntry[] = [
	{ path: ["vm"], kind: "directory", mode: 0o755 },
	{ path: ["vm", "vm.vmx"], kind: "file", mode: 0o644, content: Buffer.from("displayName = one\n") },
	{ path: ["vm", "disk-flat.vmdk"], kind: "file", mode: 0o600, base: 0 },
];

export interface Lab {
	directory: string;
	base: PatternBase;
	clock: TestClock;
	options: CreateSessionOptions;
}

/** A small disk over a base that ends earlier, in segments as small as they get. */
export const lab = (directory: string, more: Partial<CreateSessionOptions> = {}): Lab => {
	const base = new PatternBase(DISK - 1000);
	const clock = new TestClock();
	const options: CreateSessionOptions = {
		directory,
		uuid: Buffer.alloc(16, 0xab),
		bases: [{ base, size: DISK }],
		seed: SEED,
		uid: 1000,
		gid: 1000,
		now: clock.now,
		segmentBytes: 64 * 1024,
		reserveBytes: 1024 * 1024,
		cacheBytes: 256 * 1024,
		...more,
	};
	return { directory, base, clock, options };
};

export const create = (l: Lab): Promise<SessionTree> => createSession(l.options);
export const open = (l: Lab, directory = l.directory): Promise<SessionTree> => openSession({ ...l.options, directory });

export const readAll = async (tree: SessionTree, id: number, offset: number, length: number): Promise<Buffer> => {
	const target = Buffer.alloc(length, 0xee);
	await tree.read(id, offset, target);
	return target;
};

export const diskOf = (tree: SessionTree): number => tree.lookup(tree.lookup(tree.root, "vm")!, "disk-flat.vmdk")!;
