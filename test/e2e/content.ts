/** Deterministic disk content: data, repeats and holes, from a seed. */
import { createHash } from "node:crypto";
import { closeSync, createReadStream, ftruncateSync, openSync, writeSync } from "node:fs";

/** A small fast generator (mulberry32): the same numbers for the same seed on every machine. */
export function random(seed: number): () => number {
	let a = seed >>> 0;
	return () => {
		a = (a + 0x6d2b79f5) >>> 0;
		let t = a;
		t = Math.imul(t ^ (t >>> 15), t | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

/** `length` bytes; about half of each is text-like and compresses. */
export function bytesOf(seed: number, length: number): Buffer {
	const next = random(seed);
	const data = Buffer.alloc(length);
	for (let i = 0; i < length; i += 4) {
		const word = (next() * 2 ** 32) >>> 0;
		const value = (i >> 9) & 1 ? word : (word & 0x0f0f0f0f) | 0x60606060;
		for (let k = 0; k < 4 && i + k < length; k++) data[i + k] = (value >>> (8 * k)) & 0xff;
	}
	return data;
}

/** A raw file of exactly `size` bytes with data in some places, repeats of it elsewhere and holes between. */
export function writeDisk(path: string, seed: number, size: number): void {
	const next = random(seed);
	const fd = openSync(path, "w");
	try {
		ftruncateSync(fd, size);
		const chunk = bytesOf(seed + 1, Math.min(300_000, size));
		writeSync(fd, chunk, 0, Math.min(70_000, size), 0);
		for (let i = 0; i < 12; i++) {
			const length = Math.min(chunk.length, 1 + Math.floor(next() * chunk.length));
			const at = Math.floor(next() * Math.max(1, size - length));
			writeSync(fd, chunk, 0, Math.min(length, size - at), at);
		}
		// The very end holds data: sizes that are no multiple of a block or a sector must come back exactly.
		writeSync(fd, chunk, 0, Math.min(777, size), Math.max(0, size - 777));
	} finally {
		closeSync(fd);
	}
}

/** SHA-256 of a file's first `length` bytes (all of it when left out). */
export async function digest(path: string, length?: number): Promise<string> {
	const hash = createHash("sha256");
	const end = length === undefined ? undefined : length - 1;
	for await (const part of createReadStream(path, { end })) hash.update(part as Buffer);
	return hash.digest("hex");
}
