/** springback prune */
import type { PruneReport } from "../../repository/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed } from "../keys.js";
import { bytes } from "../output.js";
import { flag, positionals, size, text } from "../values.js";

const command: Command = {
	summary: "gives back the space that no restore point needs",
	help: `springback prune [--max-rewrite SIZE|PERCENT] [--dry-run]
  Deletes packs in which nothing is needed, copies what is needed out of packs that are mostly not, and puts small
  packs together. Backups, sessions and readers go on meanwhile. Stopped or killed, the next run goes on.
  --max-rewrite N  most that is copied: a size (500m, 20g) or a share of the repository (default 10%, at least 1g)
  --dry-run        says what would be done; changes nothing`,
	options: { "max-rewrite": { type: "string" }, "dry-run": { type: "boolean" } },
	async run(context) {
		positionals(context, []);
		const maxRewrite = bound(context);
		const repository = await openNamed(context);
		const bar = context.out.progress("prune");
		try {
			const report = await repository.prune({
				maxRewrite,
				dryRun: flag(context, "dry-run"),
				now: () => new Date(),
				progress: (p) => bar.update(p),
				signal: context.signal,
			});
			bar.end();
			for (const pack of report.damaged)
				context.out.say(`pack ${pack} is damaged and was left alone: run springback check`);
			context.out.result(report, shown(report));
			return report.damaged.length > 0 ? EXIT.warnings : EXIT.ok;
		} finally {
			bar.end();
			await repository.close();
		}
	},
};
export default command;

function bound(context: Context): { bytes: number } | { share: number } | undefined {
	const value = text(context, "max-rewrite");
	if (value === undefined) return undefined;
	if (!value.endsWith("%")) return { bytes: size(context, "max-rewrite", 0) };
	const percent = /^\d+(\.\d+)?%$/.test(value) ? Number(value.slice(0, -1)) : Number.NaN;
	if (!(percent <= 100)) throw new UsageError(`--max-rewrite ${value}: not a share; use 0% to 100%, or a size`);
	return { share: percent / 100 };
}

function shown(report: PruneReport): string {
	const { dead, rewrite, merge, waiting } = report;
	const lines = [
		`${report.points} restore points need ${report.liveRecords} records; ${report.packs} packs looked at, ${report.seconds.toFixed(1)} s`,
	];
	if (report.dryRun)
		lines.push(
			`would delete ${dead.packs} packs (${bytes(dead.bytes)}), rewrite ${rewrite.packs} (${bytes(rewrite.bytes)}, of which ${bytes(rewrite.live)} are needed) and put ${merge.packs} small ones (${bytes(merge.bytes)}) together`,
		);
	else {
		lines.push(`${bytes(report.freed)} freed in ${report.deleted} packs, ${bytes(report.rewritten)} rewritten`);
		if (merge.packs > 0) lines.push(`${merge.packs} small packs (${bytes(merge.bytes)}) were put together`);
	}
	if (waiting.packs > 0)
		lines.push(
			waiting.backups > 0
				? `${waiting.packs} packs wait for ${waiting.backups} running backups to end: the next prune deletes them`
				: `${waiting.packs} packs were condemned by an earlier run: the next prune deletes them`,
		);
	if (report.left > 0)
		lines.push(`${bytes(report.left)} that nothing needs stay, in packs not worth rewriting or beyond --max-rewrite`);
	return lines.join("\n");
}
