/** The plots of the `scale` scenario. */
import type { Line, Plot } from "../measure/plot.js";
import { median } from "../measure/statistics.js";
import type { Measured } from "./scale.js";
import type { End } from "./scale-measures.js";
import { MEMORIES, terabytes } from "./scale-memory.js";

const MB = 1e6;
const BLOCKS = "unique blocks of 64 KiB";
const POINTS = "restore points";
/** Below, the goal of 100 MB per TB would be less than any process takes. */
const GUIDE_FROM_TB = 0.1;

export function scalePlots(measured: Measured[]): Plot[] {
	// Sizes that differ in their points; while the disk grows there are only a few.
	const byPoints = measured.filter(({ points }) => points >= 10);
	const line = (name: string, of: Measured[], x: (one: Measured) => number, y: (one: Measured) => number): Line => ({
		name,
		// A difference of two times may be below 0 on a busy machine: not for logarithms.
		points: of.map((one) => ({ x: x(one), y: y(one) })).filter((point) => point.y > 0),
	});
	const points = (name: string, y: (one: Measured) => number) => line(name, byPoints, (one) => one.points, y);
	const blocks = (name: string, y: (one: Measured) => number) => line(name, measured, (one) => one.blocks, y);
	const ends = (name: string, y: (end: End) => number) => points(name, ({ end }) => (end ? y(end) : 0));
	const goal = (name: string, of: Measured[], x: (one: Measured) => number, y: number): Line => ({
		name,
		points: [of[0], of.at(-1)!].map((one) => ({ x: x(one), y })),
		guide: true,
	});
	return [
		{
			name: "scale-points",
			title: "Listing and publishing, by restore points",
			x: POINTS,
			y: "ms",
			lines: [
				points("points, beyond the start of the command", ({ list }) => 1000 * median(list)),
				points("publish: control request to ready", ({ publish }) => 1000 * median(publish)),
				points("publish again, repository open", ({ publishAgain }) => 1000 * median(publishAgain)),
				goal("goal of points: 200 ms", byPoints, (one) => one.points, 200),
				goal("goal of publish: 100 ms", byPoints, (one) => one.points, 100),
			],
		},
		{
			name: "scale-open",
			title: "Opening and publishing, by size of the repository",
			x: BLOCKS,
			y: "ms",
			lines: [
				blocks("open repository, point and disk, and read a block", ({ open }) => median(open)),
				blocks("publish: control request to ready", ({ publish }) => 1000 * median(publish)),
				blocks("publish again, repository open", ({ publishAgain }) => 1000 * median(publishAgain)),
			],
		},
		{
			name: "scale-increment",
			title: "One increment, by restore points before it",
			x: POINTS,
			y: "s",
			lines: [
				points("usual", ({ increment }) => increment),
				points("longest: ten times the change, or merges the index", ({ longest }) => longest),
			],
		},
		{
			name: "scale-prune",
			title: "Marking and checking everything",
			x: "live records: blocks, map pages, objects",
			y: "s",
			lines: [
				line(
					"prune: mark",
					measured,
					(one) => one.liveRecords,
					({ mark }) => mark,
				),
				line(
					"prune --dry-run",
					measured,
					(one) => one.liveRecords,
					({ plan }) => plan,
				),
				line(
					"check",
					measured,
					(one) => one.liveRecords,
					({ check }) => check,
				),
				linear(measured.map((one) => ({ x: one.liveRecords, y: one.plan }))),
			],
		},
		{
			name: "scale-forget",
			title: "Nine points of ten are forgotten, then prune",
			x: POINTS,
			y: "s",
			lines: [
				ends("forget", ({ forget }) => forget),
				ends("prune", ({ seconds }) => seconds),
				ends("prune, per 10 million live records", ({ seconds, liveRecords }) => (seconds * 1e7) / liveRecords),
			],
		},
		{
			name: "scale-rewritten",
			title: "Bytes that prune rewrites and frees, when nine points of ten are forgotten",
			x: POINTS,
			y: "MB",
			lines: [ends("rewritten", ({ rewritten }) => rewritten / MB), ends("freed", ({ freed }) => freed / MB)],
		},
		{
			name: "scale-memory",
			title: "Resident anonymous memory",
			x: "TB of unique data",
			y: "MB",
			lines: [
				...MEMORIES.map(([name, memory]) => line(name, measured, terabytes, (one) => memory(one) / MB)),
				{
					name: "100 MB per TB",
					points: measured.map(terabytes).flatMap((tb) => (tb < GUIDE_FROM_TB ? [] : [{ x: tb, y: 100 * tb }])),
					guide: true,
				},
			],
		},
	];
}

/** From the origin through the last point. */
const linear = (points: { x: number; y: number }[]): Line => {
	const last = points.at(-1)!;
	return { name: "linear growth", points: points.map(({ x }) => ({ x, y: (x * last.y) / last.x })), guide: true };
};
