/** springback rebuild */
import type { RestoredConfig } from "../../repository/index.js";
import type { Command } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { counted, faultLines } from "../faults.js";
import { openNamed, restoreNamed } from "../keys.js";
import { rebuildSettings } from "../rebuild-settings.js";
import { flag, positionals, size, text } from "../values.js";

const command: Command = {
	summary: "makes the index anew from packs alone; brings hosts, plans and catalogue back",
	help: `springback rebuild [--block-size N]
  Replaces the index, also when it is missing or destroyed, and makes folders that a copy of the repository lost.
  Reads the tables of packs, not their data. Exit 4 when a pack's table was damaged: run springback repair then.
springback rebuild --settings [--from SERVER] [--overwrite] [--block-size N]
  Brings hosts, plans and the catalogue back from the repository, onto a machine that has nothing else.
  --from SERVER  whose: name of the machine that wrote them, or the id that is printed when there are several
  --overwrite    also where hosts or plans are here already; those are kept under other names
Both restore springback.json first when it is lost or damaged: from the repository's copy of it, else from packs.
  --block-size N only when it says that nothing tells it`,
	options: {
		"block-size": { type: "string" },
		settings: { type: "boolean" },
		from: { type: "string" },
		overwrite: { type: "boolean" },
	},
	async run(context) {
		positionals(context, []);
		const settings = flag(context, "settings");
		for (const option of ["from", "overwrite"])
			if (!settings && context.values[option] !== undefined)
				throw new UsageError(`--${option} is for rebuild --settings`);
		const blockSize = text(context, "block-size") === undefined ? undefined : size(context, "block-size", 0);
		const config = await restoreNamed(context, blockSize);
		if (config !== undefined) for (const line of told(config)) context.out.say(line);
		if (settings) return rebuildSettings(context, config);
		const repository = await openNamed(context);
		const bar = context.out.progress("rebuild");
		try {
			const report = await repository.rebuild({ progress: (p) => bar.update(p), signal: context.signal });
			bar.end();
			const { packs, records, segments, faults } = report;
			const made = `${counted(packs, "pack")}, ${counted(records, "record")}: index of ${counted(segments, "segment")} made`;
			const next = faults.length ? ["run springback repair: it takes the damaged packs out of use"] : [];
			context.out.result({ ...report, config: config ?? null }, [made, ...faultLines(faults), ...next].join("\n"));
			return faults.length || config?.guessed.length ? EXIT.warnings : EXIT.ok;
		} finally {
			bar.end();
			await repository.close();
		}
	},
};
export default command;

function told({ from, guessed, aside }: RestoredConfig): string[] {
	const lines = [`springback.json was restored from ${from === "copy" ? "the repository's copy of it" : "packs"}`];
	if (aside !== undefined) lines.push(`the damaged one is ${aside} now`);
	if (guessed.length > 0) lines.push(`nothing tells these any more: ${guessed.join(", ")}`);
	return lines;
}
