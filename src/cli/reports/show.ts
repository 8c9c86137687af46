/** springback report show */
import { readFileSync } from "node:fs";
import { junit, readReport, summaryText } from "../../verify/evidence/index.js";
import type { Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { flag, positionals } from "../values.js";
import { fileOf, knownReports, openReports } from "./find.js";

export async function showReport(context: Context): Promise<number> {
	const [word = "latest"] = positionals(context, ["RUN"], 0);
	if (flag(context, "junit") && flag(context, "html")) throw new UsageError("give --junit or --html, not both");
	const catalog = await openReports(context);
	let file: string;
	try {
		file = fileOf(word, knownReports(context, catalog));
	} finally {
		catalog.close();
	}
	const signed = readReport(file, readFileSync(file));
	const page = file.replace(/\.json$/, ".html");
	if (flag(context, "junit")) process.stdout.write(junit(signed.report));
	else if (flag(context, "html")) context.out.result({ file: page }, page);
	else context.out.result(signed.report, `${summaryText(signed.report)}\n\n${page}`);
	return EXIT.ok;
}
