/** springback rebuild */
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { counted, faultLines } from "../faults.js";
import { namedKey, openNamed } from "../keys.js";
import { localTime } from "../output.js";
import { catalogPlaces, repositoryPath } from "../places.js";
import { flag, positionals, text } from "../values.js";

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

async function rebuildSettings(context: Context): Promise<number> {
	const { restoreSettings } = await import("../../catalog/index.js");
	const { SettingsStore } = await import("../../repository/index.js");
	const store = await SettingsStore.open(repositoryPath(context), { key: await namedKey(context) });
	try {
		const options = { from: text(context, "from"), overwrite: flag(context, "overwrite") };
		const report = await restoreSettings(catalogPlaces(context), store, options);
		const { host, at, hosts, plans, runs, bad, setAside } = report;
		for (const { file, why } of bad) context.out.say(`${file}: ${why}: an older one was used`);
		const lines = [
			`as ${host} had them at ${localTime(at)}: ${counted(hosts, "host")}, ${counted(plans, "plan")}, ${counted(runs, "run")}`,
			...setAside.map((path) => `what was here is now ${path}`),
		];
		context.out.result(report, lines.join("\n"));
		return bad.length > 0 ? EXIT.warnings : EXIT.ok;
	} finally {
		await store.close();
	}
}
