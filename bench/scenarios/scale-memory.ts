/** Tells the part of a process's memory that grows with the data from the part that is always there. */
import { BLOCK_SIZE } from "../data/synthetic-disk.js";
import { amount } from "../measure/report.js";
import { line } from "../measure/statistics.js";
import type { Measured } from "./scale.js";

const MB = 1e6;

/** What is watched, by the name that the report gives it. */
export const MEMORIES: [string, (one: Measured) => number][] = [
	["open repository", (one) => one.openMemory],
	["objects and buffers in it", (one) => one.openLive],
	["backup", (one) => one.backupMemory],
	["mount process", (one) => one.mountMemory],
	["prune --dry-run", (one) => one.pruneMemory],
	["check", (one) => one.checkMemory],
];

export const terabytes = ({ blocks }: Measured): number => (blocks * BLOCK_SIZE) / 1e12;

/** Below, growth of 100 MB per TB is less than a garbage collector moves a process's memory by. */
const LEAST_TB = 0.05;

/** One sentence. */
export const growth = (measured: Measured[]): string => {
	const sizes = measured.map(terabytes);
	const apart = Math.max(...sizes) - Math.min(...sizes);
	if (apart < LEAST_TB) return `Memory per TB: the sizes are only ${amount(apart)} TB apart, too little to tell.`;
	const parts = MEMORIES.map(([name, memory]) => {
		const { at0, slope } = line(measured.map((one) => ({ x: terabytes(one), y: memory(one) / MB })));
		return `${name} ${amount(at0)} MB + ${amount(slope)} MB per TB`;
	});
	return `Memory, as a fixed part and what is added per TB of unique data, by least squares over ${measured.length} sizes from the fully grown disk on, ${amount(apart)} TB apart (goal: at most 100 MB per TB): ${parts.join(", ")}. Peaks of short processes move with the garbage collector; the open repository was collected first.`;
};
