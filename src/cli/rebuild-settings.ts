/** springback rebuild --settings: hosts, plans and catalogue from the repository. */
import type { RestoredConfig } from "../repository/index.js";
import type { Context } from "./command.js";
import { EXIT } from "./exit.js";
import { counted } from "./faults.js";
import { namedKey } from "./keys.js";
import { localTime } from "./output.js";
import { catalogPlaces, repositoryPath } from "./places.js";
import { flag, text } from "./values.js";

/** `config`: springback.json was restored for it. */
export async function rebuildSettings(context: Context, config: RestoredConfig | undefined): Promise<number> {
	const { restoreSettings } = await import("../catalog/index.js");
	const { SettingsStore } = await import("../repository/index.js");
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
		context.out.result({ ...report, config: config ?? null }, lines.join("\n"));
		return bad.length > 0 || config?.guessed.length ? EXIT.warnings : EXIT.ok;
	} finally {
		await store.close();
	}
}
