/** Reads all of a restore point past the cache: each block is compared with its SHA-256 on the way. */
import type { Point, Repository } from "../repository/index.js";
import { causeOf } from "./errors.js";

const STEP = 4 * 2 ** 20;
const IN_FLIGHT = 4;
/** Lines that are told; there may be any number of damaged blocks. */
const TOLD = 100;

export interface BlocksReport {
	blocks: number;
	/** that hold data */
	bytes: number;
	damaged: string[];
}

export const checkBlocks = async (
	repository: Repository,
	point: Point,
	progress: (done: number, total: number) => void,
	signal: AbortSignal,
): Promise<BlocksReport> => {
	const report: BlocksReport = { blocks: 0, bytes: 0, damaged: [] };
	const total = point.disks.reduce((sum, { size }) => sum + size, 0);
	let before = 0;
	for (const { name, size } of point.disks) {
		const image = await repository.openDisk(point, name, { once: true });
		try {
			const damaged = (line: string): void => {
				if (report.damaged.length < TOLD) report.damaged.push(line);
			};
			const read = async (offset: number, buffer: Buffer): Promise<void> => {
				try {
					await image.read(offset, buffer);
				} catch (error) {
					if (buffer.length <= repository.blockSize) damaged(`${name} at ${offset}: ${causeOf(error)}`);
					else
						for (let at = 0; at < buffer.length; at += repository.blockSize)
							await read(offset + at, buffer.subarray(at, at + repository.blockSize));
				}
			};
			const pieces = (async function* () {
				for (let at = 0; at < size; at += 2 ** 30)
					for (const { offset, length, kind } of await image.extents(at, Math.min(2 ** 30, size - at)))
						for (let from = 0; kind === "data" && from < length; from += STEP)
							yield { offset: offset + from, length: Math.min(STEP, length - from) };
			})();
			const worker = async (): Promise<void> => {
				const buffer = Buffer.allocUnsafeSlow(STEP);
				for (;;) {
					signal.throwIfAborted();
					const { value, done } = await pieces.next();
					if (done) return;
					await read(value.offset, buffer.subarray(0, value.length));
					report.bytes += value.length;
					progress(before + value.offset + value.length, total);
				}
			};
			const results = await Promise.allSettled(Array.from({ length: IN_FLIGHT }, worker));
			for (const result of results) if (result.status === "rejected") throw result.reason;
		} catch (error) {
			// What damages the map damages all of the disk.
			if (signal.aborted) throw error;
			report.damaged.push(`${name}: ${causeOf(error)}`);
		} finally {
			await image.close();
		}
		before += size;
	}
	report.blocks = Math.ceil(report.bytes / repository.blockSize);
	return report;
};
