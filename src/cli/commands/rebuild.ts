/** springback rebuild */

import { type RestoredConfig, restoreConfig } from "../../repository/index.js";
import type { Command } from "../command.js";
import { EXIT } from "../exit.js";
import { counted, faultLines } from "../faults.js";
import { keySource, openNamed } from "../keys.js";
import { repositoryPath } from "../places.js";
import { positionals, size, text } from "../values.js";

const command: Command = {
	summary: "makes the index anew from packs alone",
	help: `springback rebuild [--block-size N]
  Replaces the index, also when it is missing or destroyed, and makes folders that a copy of the repository lost.
  Reads the tables of packs, not their data. Restores springback.json too when it is lost or damaged, from the
  repository's copy of it, else from packs (--block-size only when it says that nothing tells it). Exit 4 when a pack's table was damaged: run springback repair then.`,
	options: { "block-size": { type: "string" } },
	async run(context) {
		positionals(context, []);
		const blockSize = text(context, "block-size") === undefined ? undefined : size(context, "block-size", 0);
		const config = await restoreConfig(repositoryPath(context), { key: keySource(context), blockSize });
		if (config !== undefined) for (const line of told(config)) context.out.say(line);
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
