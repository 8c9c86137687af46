/**
 * The reads of a booting guest, as QEMU's block layer saw them, and their replay.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cProgram } from "../peers/c-programs.js";
import { run } from "./process.js";
import { quantile } from "./statistics.js";

/** QEMU options that log every read of a guest to `log`. */
export const traceOptions = (log: string): string[] => ["-trace", "enable=blk_co_preadv", "-D", log];

export interface ReadTrace {
	/** file with one "OFFSET LENGTH" per line */
	path: string;
	reads: number;
	bytes: number;
}

/** Turns QEMU's log of one disk into a trace in the order of the requests. */
export function readTrace(log: string, path: string): ReadTrace {
	const reads: string[] = [];
	let bytes = 0;
	for (const [, offset, length] of readFileSync(log, "latin1").matchAll(
		/blk_co_preadv .*?\boffset (\d+) bytes (\d+) /g,
	)) {
		if (length === "0") continue;
		reads.push(`${offset} ${length}`);
		bytes += Number(length);
	}
	if (reads.length === 0) throw new Error(`QEMU recorded no reads in ${log}: is it built with the log trace backend?`);
	writeFileSync(path, `${reads.join("\n")}\n`);
	return { path, reads: reads.length, bytes };
}

export interface Latencies {
	/** microseconds */
	median: number;
	p99: number;
	/** seconds of all reads together */
	total: number;
	/** of the bytes read */
	checksum: string;
}

/** @param target local path, or libnfs URL */
export async function replay(trace: ReadTrace, target: string): Promise<Latencies> {
	const { stdout } = await run([cProgram("replay"), trace.path, target]);
	const lines = stdout.trim().split("\n");
	const checksum = lines.pop() ?? "";
	const nanoseconds = lines.map(Number);
	return {
		checksum,
		median: quantile(nanoseconds, 0.5) / 1000,
		p99: quantile(nanoseconds, 0.99) / 1000,
		total: nanoseconds.reduce((sum, value) => sum + value, 0) / 1e9,
	};
}
