/** springback report list */
import { line } from "../../verify/evidence/index.js";
import type { Context } from "../command.js";
import { EXIT } from "../exit.js";
import { localTime, table } from "../output.js";
import { positionals, text } from "../values.js";
import { knownReports, openReports } from "./find.js";

export async function listReports(context: Context): Promise<number> {
	positionals(context, []);
	const catalog = await openReports(context);
	try {
		const reports = knownReports(context, catalog, text(context, "vm")).reverse();
		const rows = reports.map(({ run, started, plan, result, vms }) => [
			run.slice(0, 8),
			localTime(started),
			line(plan),
			line(result),
			vms.filter((vm) => vm.result === "passed" || vm.result === "warning").length,
			vms.length,
			vms
				.filter((vm) => vm.result === "failed")
				.map(({ vm, fault }) => `${line(vm)} (${fault ?? "failed"})`)
				.join(", "),
		]);
		context.out.result(
			reports,
			rows.length === 0
				? "no reports: springback verify makes them"
				: table(["RUN", "STARTED", "PLAN", "RESULT", "GOOD", "VMS", "FAILED"], rows),
		);
		return EXIT.ok;
	} finally {
		catalog.close();
	}
}
