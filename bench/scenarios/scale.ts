/**
 * How the repository grows: one made of real records of synthetic blocks, up to a thousand restore points of a 10 TB disk and,
 * with `--long`, ten million blocks, and what each thing that a user does costs at every size on the way.
 */
import { freshDirectory, requireSpace } from "../data/places.js";
import { DISK_SIZE } from "../data/synthetic-disk.js";
import type { SyntheticPlan } from "../data/synthetic-points.js";
import { Series } from "../measure/pairs.js";
import { amount } from "../measure/report.js";
import { median } from "../measure/statistics.js";
import { type End, ScaleRepository, type State } from "./scale-measures.js";
import { growth } from "./scale-memory.js";
import { scalePlots } from "./scale-plots.js";
import type { Outcome, Scenario, Settings } from "./scenario.js";

const VM = "scale";
const MB = 1e6;
const TEN_MILLION = 1e7;

interface Size {
	/** blocks of data after each restore point while the disk grows */
	growth: number[];
	/** restore points at which is measured afterwards */
	points: number[];
	/** blocks that change from point to point; ten times as many in every hundredth */
	changed: number;
	/** bytes of disk that it takes */
	space: number;
}

const LONG: Size = {
	growth: [100_000, 320_000, 1_000_000, 2_500_000, 4_800_000],
	points: [10, 32, 100, 316, 1000],
	changed: 4800,
	space: 24 * 2 ** 30,
};
const USUAL: Size = {
	growth: [50_000, 160_000, 500_000, 1_200_000],
	points: [10, 32, 100, 316, 1000],
	changed: 1200,
	space: 6 * 2 ** 30,
};
const QUICK: Size = {
	growth: [20_000, 60_000],
	points: [10, 100],
	changed: 60,
	space: 2 ** 30,
};

export const scale: Scenario = {
	name: "scale",
	summary: "growth to 1,000 points and 2.5 (--long: 10) million blocks: time and memory of everything, plotted",
	pairs: 1,
	quickPairs: 1,
	byName: true,
	programs: [],
	run: measure,
};

/** A size, what was measured at it, and the last increments on the way to it. */
export interface Measured extends State {
	/** seconds: the usual one, and the longest, which merges the index */
	increment: number;
	longest: number;
	/** blocks that changed in the usual one */
	changed: number;
	backupMemory: number;
}

async function measure(settings: Settings): Promise<Outcome> {
	const { quick, long, say, noise } = settings;
	const size = quick ? QUICK : long ? LONG : USUAL;
	requireSpace(size.space);
	const repository = new ScaleRepository(freshDirectory("scale"), VM, size.growth.at(-1)!);
	await repository.springback.init();
	const measured: Measured[] = [];
	let blocks = 0;
	let points = 0;
	const to = async (steps: SyntheticPlan["steps"]) => {
		await noise.listen();
		const { made, peak, seconds } = await repository.grow(steps);
		blocks += made.reduce((sum, point) => sum + point.new, 0);
		points += made.length;
		say(`${points} points, ${amount(blocks)} blocks: made in ${seconds.toFixed(0)} s`);
		const all = made.map((point) => point.seconds);
		const state = await repository.state(blocks);
		const usual = { increment: median(all), longest: Math.max(...all), changed: median(made.map(({ read }) => read)) };
		const end = points >= size.points[0] ? await repository.end(points) : undefined;
		if (end)
			say(`forget ${end.removed} of them ${end.forget.toFixed(1)} s, prune ${end.seconds.toFixed(1)} s (in a copy)`);
		measured.push({ ...state, ...usual, backupMemory: peak, end });
		say(
			`list ${ms(median(state.list))}, publish ${ms(median(state.publish))}, prune --dry-run ${state.plan.toFixed(1)} s, check ${state.check.toFixed(1)} s`,
		);
	};
	for (const populated of size.growth) await to([{ populated }]);
	for (const until of size.points) {
		const steps = Array.from({ length: until - points }, (_, n) => ({
			changed: (points + n + 1) % 100 === 0 ? 10 * size.changed : size.changed,
		}));
		await to(steps);
	}
	return outcome(measured, size);
}

const perTenMillion = (end: End): number => (end.seconds * TEN_MILLION) / end.liveRecords;

const ms = (seconds: number): string => `${(1000 * seconds).toFixed(0)} ms`;

function outcome(measured: Measured[], size: Size): Outcome {
	const sideOf = ({ blocks, points }: Measured) => `${amount(blocks / MB)} M, ${points}`;
	const sides = measured.map(sideOf);
	const row = (load: string, unit: string, value: (one: Measured) => number | number[]): Series => {
		const series = new Series(load, unit, "lower");
		measured.forEach((one, n) => {
			for (const each of [value(one)].flat()) series.add(sides[n], each);
		});
		return series;
	};
	const last = measured.at(-1)!;
	const end = last.end!;
	// Caches and the heap are full before the disk has grown: from there on only the data counts.
	const grown = measured.slice(size.growth.length - 1);
	const ends = measured.filter((one): one is Measured & { end: End } => one.end !== undefined);
	const endRow = (load: string, unit: string, value: (end: End) => number): Series => {
		const series = new Series(load, unit, "lower");
		for (const one of ends) series.add(sideOf(one), value(one.end));
		return series;
	};
	return {
		conditions: [
			`One VM with one disk of ${amount(DISK_SIZE / 1e12)} TB, of which up to ${amount(size.growth.at(-1)! / MB)} M blocks of 64 KiB hold data, in runs of 1 GiB. Restore points by \`--since\` and changes: first the disk grows, then ${size.changed} blocks change from point to point, in runs of 1 to 7 blocks anywhere in the data, ten times as many in every hundredth.`,
			"Blocks are synthetic: 64 KiB each, hashed, looked up, compressed and stored like any, but nearly empty, so that they fit. Map pages, packs, index segments and points are as they always are. A pack holds some 200,000 such blocks; of real ones it holds a few thousand.",
			"Columns: million unique blocks, restore points. Everything in the page cache. Each command is a process of its own; memory is its highest RssAnon, looked at every 20 ms; for the mount process, RssAnon once the session is ready.",
			'`points`: 7 times, each less what `points --help` takes. Publish: control request to ready, 5 times; "again": by a mount process that has the repository open. Increment: median and longest of those made on the way to the size, without the start of the process.',
		],
		tables: [
			{
				title: "Time",
				sides,
				rivals: false,
				series: [
					row("points, beyond the start of the command", "ms", ({ list }) => list.map((one) => 1000 * one)),
					row("points, beyond the start of the command, processor time", "ms", ({ listCpu }) =>
						listCpu.map((one) => 1000 * one),
					),
					row("publish", "ms", ({ publish }) => publish.map((one) => 1000 * one)),
					row("publish again", "ms", ({ publishAgain }) => publishAgain.map((one) => 1000 * one)),
					row("open repository, point and disk, and read a block", "ms", ({ open }) => open),
					row("increment", "s", ({ increment }) => increment),
					row("increment, the longest", "s", ({ longest }) => longest),
					row("prune --dry-run: mark", "s", ({ mark }) => mark),
					row("prune --dry-run", "s", ({ plan }) => plan),
					row("prune --dry-run, processor time", "s", ({ planCpu }) => planCpu),
					row("check", "s", ({ check }) => check),
					row("check, processor time", "s", ({ checkCpu }) => checkCpu),
				],
			},
			{
				title: "Nine points of ten are forgotten, then prune",
				sides: ends.map(sideOf),
				rivals: false,
				series: [
					endRow("forget", "s", ({ forget }) => forget),
					endRow("prune", "s", ({ seconds }) => seconds),
					endRow("prune, per 10 million live records", "s", perTenMillion),
					endRow("prune: bytes rewritten", "MB", ({ rewritten }) => rewritten / MB),
					endRow("prune: bytes freed", "MB", ({ freed }) => freed / MB),
					endRow("prune: memory", "MB", ({ peak }) => peak / MB),
				],
			},
			{
				title: "Work",
				sides,
				rivals: false,
				series: [
					row("blocks changed by the usual increment", "1", ({ changed }) => changed),
					row("live records", "1", ({ liveRecords }) => liveRecords),
					row("map pages read by marking", "1", ({ pages }) => pages),
				],
			},
			{
				title: "Resident anonymous memory",
				sides,
				rivals: false,
				series: [
					row("open repository, after a collection", "MB", ({ openMemory }) => openMemory / MB),
					row("open repository: objects and buffers", "MB", ({ openLive }) => openLive / MB),
					row("backup", "MB", ({ backupMemory }) => backupMemory / MB),
					row("mount process, one session", "MB", ({ mountMemory }) => mountMemory / MB),
					row("prune --dry-run", "MB", ({ pruneMemory }) => pruneMemory / MB),
					row("check", "MB", ({ checkMemory }) => checkMemory / MB),
				],
			},
		],
		plots: scalePlots(measured),
		remarks: [
			`Forget of ${end.removed} points at the largest size: ${end.forget.toFixed(1)} s. Prune after it: ${end.seconds.toFixed(1)} s, of which ${end.markSeconds.toFixed(1)} s marked ${end.liveRecords.toLocaleString("en-US")} live records through ${end.pages.toLocaleString("en-US")} map pages: ${perTenMillion(end).toFixed(0)} s per 10 million live blocks. ${amount(end.rewritten / MB)} MB rewritten, ${amount(end.freed / MB)} MB freed in ${end.deleted} packs, ${amount(end.peak / MB)} MB of memory. A check found no fault.`,
			growth(grown),
			`Goals at the largest size: points ${ms(median(last.list))} (under 200), publish ${ms(median(last.publish))} (under 100).`,
		],
	};
}
