/** springback export */
import { exportDisk } from "../../backup/index.js";
import type { Command } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed } from "../keys.js";
import { bytes } from "../output.js";
import { flag, positionals, text } from "../values.js";

const command: Command = {
	summary: "restores one disk in full to a raw file or an NBD export",
	help: `springback export VM[@POINT] [--disk N] -o FILE|NBD
  --disk N         number (from 0) or name; may be left out when there is only one
  -o, --output T   raw file (sparse, made beside and renamed when whole) or nbd://…, nbd+unix:///…
  --overwrite      replace an existing file`,
	options: { disk: { type: "string" }, output: { type: "string", short: "o" }, overwrite: { type: "boolean" } },
	async run(context) {
		const [spec] = positionals(context, ["VM[@POINT]"]);
		const target = text(context, "output");
		if (!target) throw new UsageError("-o is missing: name the file or NBD export to write");
		const repository = await openNamed(context, { hashContent: true });
		const bar = context.out.progress("export");
		try {
			const point = await repository.resolve(spec);
			const disk = text(context, "disk") ?? onlyDisk(point.disks.map(({ name }) => name));
			const report = await exportDisk(repository, point, disk, target, {
				overwrite: flag(context, "overwrite"),
				progress: (p) => bar.update(p),
				signal: context.signal,
			});
			bar.end();
			context.out.result(
				report,
				`${report.disk} of ${report.vm}@${report.point.slice(0, 8)}: ${bytes(report.size)} to ${target} in ${report.seconds.toFixed(1)} s`,
			);
			return EXIT.ok;
		} finally {
			bar.end();
			await repository.close();
		}
	},
};
export default command;

function onlyDisk(names: string[]): string {
	if (names.length === 1) return names[0];
	throw new UsageError(`--disk is missing: this restore point has ${names.join(", ")}`);
}
