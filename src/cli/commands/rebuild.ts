/** springback rebuild */
import type { Command } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { counted, faultLines } from "../faults.js";
import { openNamed } from "../keys.js";
import { rebuildSettings } from "../rebuild-settings.js";
import { flag, positionals } from "../values.js";

const command: Command = {
	summary: "makes the index anew from packs alone; brings hosts, plans and catalogue back",
	help: `springback rebuild
  Replaces the index, also when it is missing or destroyed, and makes folders that a copy of the repository lost.
  Reads the tables of packs, not their data. Exit 4 when a pack's table was damaged: run springback repair then.
springback rebuild --settings [--from SERVER] [--overwrite]
  Brings hosts, plans and the catalogue back from the repository, onto a machine that has nothing else.
  --from SERVER  whose: name of the machine that wrote them, or the id that is printed when there are several
  --overwrite    also where hosts or plans are here already; those are kept under other names`,
	options: { settings: { type: "boolean" }, from: { type: "string" }, overwrite: { type: "boolean" } },
	async run(context) {
		positionals(context, []);
		if (flag(context, "settings")) return rebuildSettings(context);
		for (const option of ["from", "overwrite"])
			if (context.values[option] !== undefined) throw new UsageError(`--${option} is for rebuild --settings`);
		const repository = await openNamed(context);
		const bar = context.out.progress("rebuild");
		try {
			const report = await repository.rebuild({ progress: (p) => bar.update(p), signal: context.signal });
			bar.end();
			const { packs, records, segments, faults } = report;
			const made = `${counted(packs, "pack")}, ${counted(records, "record")}: index of ${counted(segments, "segment")} made`;
			const next = faults.length ? ["run springback repair: it takes the damaged packs out of use"] : [];
			context.out.result(report, [made, ...faultLines(faults), ...next].join("\n"));
			return faults.length ? EXIT.warnings : EXIT.ok;
		} finally {
			bar.end();
			await repository.close();
		}
	},
};
export default command;
