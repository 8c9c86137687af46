/** `backup --vms FILE`: a line for each VM as it ends, and a summary. */
import { availableParallelism } from "node:os";
import { type BackupReport, backupSeveral, readVmList, type VmOutcome } from "../backup/index.js";
import { checkTag } from "../repository/index.js";
import type { Context } from "./command.js";
import { HOST_OPTIONS } from "./commands/backup-host.js";
import { EXIT, errorLine, exitCode, UsageError } from "./exit.js";
import { openNamed } from "./keys.js";
import { bytes } from "./output.js";
import { compressionOption, count, positionals, text, texts } from "./values.js";

/** Of `backup`, those that say what a single VM is. */
const OF_ONE = ["disk", "config", "since", "changes"];
/** Those of its other ways. */
const OF_OTHERS = ["host", "session", ...Object.keys(HOST_OPTIONS)];
/** More VMs at once than this only if asked for: each reads its source with buffers of its own. */
const MOST_UNASKED = 4;

/** Resolves with the exit code. `readLimit`: bytes per second, all VMs together. */
export async function runSeveral(context: Context, readLimit: number | undefined): Promise<number> {
	positionals(context, []);
	for (const option of OF_ONE)
		if (context.values[option] !== undefined)
			throw new UsageError(`--${option} and --vms: write it into the file, to the VM that it is for`);
	const other = OF_OTHERS.find((option) => context.values[option] !== undefined);
	if (other !== undefined) throw new UsageError(`--${other} does not go with --vms`);
	const parallel = count(context, "parallel") ?? Math.min(MOST_UNASKED, availableParallelism());
	if (parallel === 0) throw new UsageError("--parallel 0: nothing would be done");
	const tags = texts(context, "tag");
	try {
		for (const tag of tags) checkTag(tag);
	} catch (error) {
		throw new UsageError((error as Error).message);
	}
	const compression = compressionOption(context);
	const vms = readVmList(text(context, "vms")!);
	const repository = await openNamed(context);
	const began = performance.now();
	const bar = context.out.progress("backup");
	try {
		const outcomes = await backupSeveral(repository, vms, {
			...{ parallel, readLimit, compression, tags, signal: context.signal },
			progress: (p) => bar.update(p),
			ended: (outcome) => {
				bar.end();
				tell(context, outcome);
			},
		});
		return summary(context, outcomes, (performance.now() - began) / 1000);
	} finally {
		bar.end();
		await repository.close();
	}
}

const totals = (reports: BackupReport[]) => {
	const disks = reports.flatMap((report) => report.disks);
	const sum = (of: "size" | "read" | "new" | "stored") => disks.reduce((all, disk) => all + disk[of], 0);
	return { size: sum("size"), read: sum("read"), new: sum("new"), stored: sum("stored") };
};

function tell({ out }: Context, outcome: VmOutcome): void {
	if (!outcome.done) {
		const line = outcome.error === undefined ? "not begun" : errorLine(outcome.error);
		if (out.json) out.event({ vm: outcome.vm, error: line });
		if (outcome.error !== undefined) out.say(`springback: ${outcome.vm}: ${line}`);
		return;
	}
	const { notes, warnings, done, ...report } = outcome;
	for (const note of notes) out.say(`note: ${report.vm}: ${note}`);
	for (const warning of warnings) out.say(`warning: ${warning}`);
	const { size, read, new: fresh, stored } = totals([outcome]);
	out.result(
		report,
		`${report.vm}@${report.point.slice(0, 8)}: ${bytes(size)} in ${report.disks.length} disks, ${bytes(read)} read, ` +
			`${bytes(fresh)} new, ${bytes(stored)} stored, ${report.seconds.toFixed(1)} s`,
	);
}

function summary({ out, signal }: Context, outcomes: VmOutcome[], took: number): number {
	const done = outcomes.filter((outcome) => outcome.done);
	const failed = outcomes.filter((outcome) => !outcome.done);
	const sums = totals(done);
	const seconds = Math.round(1000 * took) / 1000;
	out.result(
		{ summary: { vms: outcomes.length, done: done.length, failed: failed.map(({ vm }) => vm), ...sums, seconds } },
		`${done.length} of ${outcomes.length} VMs: ${bytes(sums.size)}, ${bytes(sums.read)} read, ${bytes(sums.new)} new, ` +
			`${bytes(sums.stored)} stored, ${seconds.toFixed(1)} s`,
	);
	if (failed.length > 0 && signal.aborted) return EXIT.interrupted;
	if (done.length === 0) return failed.some(({ error }) => exitCode(error) !== EXIT.usage) ? EXIT.failure : EXIT.usage;
	return failed.length > 0 || done.some(({ warnings }) => warnings.length > 0) ? EXIT.warnings : EXIT.ok;
}
