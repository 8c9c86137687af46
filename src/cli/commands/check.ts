/** springback check */
import { availableParallelism } from "node:os";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { counted, faultLines } from "../faults.js";
import { openNamed } from "../keys.js";
import { bytes } from "../output.js";
import { statePath } from "../places.js";
import { Rotation } from "../rotation.js";
import { flag, positionals, text } from "../values.js";

const command: Command = {
	summary: "proves that every restore point can be read",
	help: `springback check [--read-data[=N%]]
  Checks structure: every point, map page, index and pack. Changes nothing. Collects all faults, each with the
  VMs, restore points, disks and bytes that it hits; exit 3 when there are any.
  --read-data     also reads every stored byte and verifies its SHA-256
  --read-data=N%  only that much of every pack, the next part each time: with 10% ten runs read everything
  springback repair takes damaged packs out of use and keeps what is good in them.`,
	options: { "read-data": { type: "boolean" }, "read-share": { type: "string" } },
	rewrite: (args) => args.map((arg) => arg.replace(/^--read-data=/, "--read-share=")),
	async run(context) {
		positionals(context, []);
		const percent = share(context);
		const repository = await openNamed(context, { readThreads: Math.max(4, availableParallelism()) });
		const bar = context.out.progress("check");
		try {
			const rotation = new Rotation(statePath(context), repository.id);
			const slice = percent === undefined ? undefined : rotation.slice(percent);
			const report = await repository.check({
				readData: slice ?? flag(context, "read-data"),
				progress: (p) => bar.update(p),
				signal: context.signal,
			});
			bar.end();
			const lines = [
				`${report.points} restore points, ${report.blocks} blocks, ${report.packs} packs, ${bytes(report.bytesRead)} read`,
			];
			if (slice !== undefined) {
				const failed = rotation.advance(slice);
				if (failed) context.out.say(`note: ${statePath(context)}: ${failed}; the next check reads the same part again`);
				const until = ((slice.from + slice.share) % 1 || 1) * 100;
				lines.push(
					`data read from ${Number((slice.from * 100).toFixed(3))}% to ${Number(until.toFixed(3))}% of every pack`,
				);
			}
			lines.push(...faultLines(report.faults));
			lines.push(report.faults.length ? `${counted(report.faults.length, "fault")} found` : "no faults");
			context.out.result(slice === undefined ? report : { ...report, slice }, lines.join("\n"));
			return report.faults.length ? EXIT.fault : EXIT.ok;
		} finally {
			bar.end();
			await repository.close();
		}
	},
};
export default command;

/** The N of `--read-data=N%`, which arrives as `--read-share` (see `rewrite`); 100 is all. */
function share(context: Context): number | undefined {
	const value = text(context, "read-share");
	if (value === undefined) return undefined;
	const n = /^\d+(?:\.\d{1,3})?%$/.test(value) ? Number(value.slice(0, -1)) : Number.NaN;
	if (n > 0 && n <= 100) return n;
	throw new UsageError(`--read-data=${value}: not a share; write --read-data=10%, more than 0% and at most 100%`);
}
