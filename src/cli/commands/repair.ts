/** springback repair */
import { availableParallelism } from "node:os";
import type { RepairReport } from "../../repository/index.js";
import type { Command } from "../command.js";
import { EXIT } from "../exit.js";
import { counted, faultLines } from "../faults.js";
import { openNamed } from "../keys.js";
import { bytes } from "../output.js";
import { flag, positionals } from "../values.js";

const command: Command = {
	summary: "takes damaged packs and restore points out of use and keeps what is good",
	help: `springback repair [--dry-run]
  Reads every stored byte. Good records of a damaged pack are stored again, the pack is moved to quarantine/ with
  a report, the index is rebuilt. A damaged restore point is moved there too. Nothing is deleted. It can be interrupted and run again at any time; backups
  wait meanwhile. Says which bytes of which disks stay damaged; a backup of the same content heals them.
  --dry-run  only tells what would be done
  Exit 3 when something stays damaged or a restore point was lost, and after a dry run that found something to do.`,
	options: { "dry-run": { type: "boolean" } },
	async run(context) {
		positionals(context, []);
		const repository = await openNamed(context, { readThreads: Math.max(4, availableParallelism()) });
		const bar = context.out.progress("repair");
		try {
			const report = await repository.repair({
				dryRun: flag(context, "dry-run"),
				progress: (p) => bar.update(p),
				signal: context.signal,
			});
			bar.end();
			context.out.result(report, describe(report).join("\n"));
			const waiting = report.dryRun && report.indexRebuilt;
			return report.remaining.length || report.points.length || waiting ? EXIT.fault : EXIT.ok;
		} finally {
			bar.end();
			await repository.close();
		}
	},
};
export default command;

function describe({ dryRun, indexRebuilt, quarantined, points, bytesRead, remaining }: RepairReport): string[] {
	const lines = [`${bytes(bytesRead)} read`];
	for (const { file, why, good, rewritten, bad } of quarantined) {
		const counts = `${good} good records, ${bad === null ? "an unknown number" : bad} damaged`;
		lines.push(
			dryRun
				? `would move aside ${file} (${why}): ${counts}`
				: `moved to ${file} (${why}): ${counts}, ${rewritten} stored again`,
		);
	}
	for (const { point, file, why, vm, written } of points) {
		const name = `restore point ${vm === null ? point : `${vm}@${point}`}${written === null ? "" : `, written ${written},`}`;
		lines.push(
			dryRun
				? `would move aside ${file} (${why}): ${name} is lost unless you restore the file from a copy`
				: `moved to ${file} (${why}): ${name} is lost, unless you restore points/${point} from a copy before the next prune`,
		);
	}
	if (indexRebuilt) lines.push(dryRun ? "would rebuild the index" : "index rebuilt");
	lines.push(...faultLines(remaining));
	if (remaining.length) lines.push(`${counted(remaining.length, "fault")} ${dryRun ? "would stay" : "left"}`);
	else if (points.length)
		lines.push(dryRun ? "every other restore point would be whole" : "every other restore point is whole");
	else if (!indexRebuilt) lines.push("nothing to repair");
	else lines.push(dryRun ? "every restore point would be whole" : "every restore point is whole");
	return lines;
}
