/**
 * How fast one core hashes and compresses the very image that is backed up: what bounds a backup when its source is in
 * memory. Measured in the same run as the backup, by the same native code.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { isZero, lz4Compress, sha256 } from "../../native/index.js";

export interface Limits {
	/** bytes per second of one core */
	sha256: number;
	lz4: number;
	/** core seconds to hash every non-zero block of the image, and to compress it, at these speeds */
	hashSeconds: number;
	compressSeconds: number;
	/** non-zero blocks in the image */
	dataBytes: number;
}

/**
 * @param blockSize bytes
 * @param sampleShare share of the blocks that are hashed and compressed, spread evenly; all are looked at for zeros
 */
export function measureLimits(image: string, blockSize: number, sampleShare: number): Limits {
	const file = openSync(image, "r");
	const block = Buffer.alloc(blockSize);
	const target = Buffer.alloc(blockSize * 2);
	const every = Math.max(1, Math.round(1 / sampleShare));
	let [dataBytes, sampled, hashing, compressing] = [0, 0, 0, 0];
	for (let index = 0; ; index++) {
		const length = readSync(file, block, 0, blockSize, index * blockSize);
		if (length === 0) break;
		const data = block.subarray(0, length);
		if (isZero(data)) continue;
		dataBytes += length;
		if (index % every !== 0) continue;
		sampled += length;
		const start = process.hrtime.bigint();
		sha256(data);
		const between = process.hrtime.bigint();
		lz4Compress(data, target);
		hashing += Number(between - start) / 1e9;
		compressing += Number(process.hrtime.bigint() - between) / 1e9;
	}
	closeSync(file);
	const speeds = { sha256: sampled / hashing, lz4: sampled / compressing };
	return {
		...speeds,
		hashSeconds: dataBytes / speeds.sha256,
		compressSeconds: dataBytes / speeds.lz4,
		dataBytes,
	};
}
