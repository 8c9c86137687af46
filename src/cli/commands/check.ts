/** springback check */
import type { Command } from "../command.js";
import { EXIT } from "../exit.js";
import { openNamed } from "../keys.js";
import { bytes } from "../output.js";
import { flag, positionals } from "../values.js";

const command: Command = {
	summary: "proves that every restore point can be read",
	help: `springback check [--read-data]
  Checks structure: every point, map page, index and pack. Collects all faults; exit 3 when there are any.
  --read-data  also reads every stored byte and verifies its SHA-256`,
	options: { "read-data": { type: "boolean" } },
	async run(context) {
		positionals(context, []);
		const repository = await openNamed(context);
		const bar = context.out.progress("check");
		try {
			const report = await repository.check({
				readData: flag(context, "read-data"),
				progress: (p) => bar.update(p),
				signal: context.signal,
			});
			bar.end();
			const lines = [
				`${report.points} restore points, ${report.blocks} blocks, ${report.packs} packs, ${bytes(report.bytesRead)} read`,
			];
			for (const fault of report.faults) {
				lines.push(`${fault.kind}: ${fault.file}: ${fault.message}`);
				for (const hit of fault.hits) {
					const where = hit.offset === undefined ? "" : ` bytes ${hit.offset} to ${hit.offset + (hit.length ?? 0)}`;
					lines.push(`  hits ${hit.vm}@${hit.point.slice(0, 8)}${hit.disk ? ` ${hit.disk}` : ""}${where}`);
				}
			}
			lines.push(report.faults.length ? `${report.faults.length} faults found` : "no faults");
			context.out.result(report, lines.join("\n"));
			return report.faults.length ? EXIT.fault : EXIT.ok;
		} finally {
			bar.end();
			await repository.close();
		}
	},
};
export default command;
