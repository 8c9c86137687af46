/**
 * A process of its own that makes restore points of a synthetic disk, through the repository as it is shipped; what it
 * prints is one JSON line per point. Ended at any moment, it leaves a good repository, and the next run goes on.
 *
 *   node synthetic-points.js REPOSITORY '{"vm":"big","most":5000000,"steps":[{"populated":100000},{"changed":5000}]}'
 */
import { openRepository, type Point, type Repository } from "../../src/repository/index.js";
import { SyntheticDisk } from "./synthetic-disk.js";

export interface SyntheticPlan {
	vm: string;
	/** blocks that hold data when the disk is fully grown */
	most: number;
	/** one restore point each: the disk grows to so many blocks of data, or so many of them change */
	steps: ({ populated: number } | { changed: number })[];
}

export interface MadePoint {
	id: string;
	seconds: number;
	/** blocks read, and those that were new */
	read: number;
	new: number;
	/** bytes of records stored */
	stored: number;
}

const DAY_MS = 86_400_000;
const FIRST = Date.UTC(2020, 0, 1);
const CONFIG = { firmware: "efi", memory: 8 * 2 ** 30, processors: 4, networks: [{ mac: "52:54:00:00:00:01" }] };

/** What a hypervisor says about a VM: of the usual size, and another one for each point. */
const description = (point: number): Buffer =>
	Buffer.from(Array.from({ length: 100 }, (_, line) => `scale.setting${line} = "${point * line}"\n`).join(""));

async function make(repository: Repository, plan: SyntheticPlan): Promise<void> {
	const points = await repository.points(plan.vm);
	let before: Point | undefined = points.at(-1);
	let number = points.length;
	for (const step of plan.steps) {
		const had = Number(before?.facts.populated ?? 0);
		const populated = "populated" in step ? step.populated : had;
		const image = new SyntheticDisk(populated, plan.most, number);
		const extents = "changed" in step ? image.changes(step.changed) : image.runs(had, populated);
		const started = performance.now();
		const { point, disks } = await repository.backup({
			vm: plan.vm,
			disks: [{ name: "disk0", image, changed: before && { since: before.id, extents } }],
			config: CONFIG,
			files: [{ name: `${plan.vm}.vmx`, content: description(number) }],
			consistency: "crash",
			facts: { populated, source: "synthetic" },
			now: () => new Date(FIRST + number * DAY_MS),
		});
		const made: MadePoint = {
			id: point.id,
			seconds: (performance.now() - started) / 1000,
			read: disks[0].read / repository.blockSize,
			new: disks[0].new / repository.blockSize,
			stored: point.size_new,
		};
		process.stdout.write(`${JSON.stringify(made)}\n`);
		before = point;
		number += 1;
	}
}

const [path, plan] = process.argv.slice(2);
const repository = await openRepository(path);
try {
	await make(repository, JSON.parse(plan) as SyntheticPlan);
} finally {
	await repository.close();
}
