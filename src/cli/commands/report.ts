/** springback report */
import type { Command } from "../command.js";
import { UsageError } from "../exit.js";
import { listReports } from "../reports/list.js";
import { showReport } from "../reports/show.js";
import { verifyReports } from "../reports/verify.js";

const VERBS = { list: listReports, show: showReport, verify: verifyReports } as const;
/** Which verb each option is for. */
const OPTIONS: Readonly<Record<string, keyof typeof VERBS>> = {
	vm: "list",
	junit: "show",
	html: "show",
	key: "verify",
};

const command: Command = {
	summary: "lists, shows and verifies the reports of verifications",
	help: `springback report list [--vm VM]
  Lists reports, newest last; of the repository that is named, or all that the catalogue knows.
springback report show [RUN|FILE] [--junit|--html]
  Shows a report: the newest, that of a run (its id or first digits), or a file.
  --junit  as JUnit XML
  --html   only the path of its page
springback report verify [RUN|FILE…] [--key FILE|FINGERPRINT]…
  Whether reports are as they were signed; without arguments all of them, and whether one is missing. Exit 3 when not.
  --key    trusts this key, too: a report-key.pub, or its fingerprint`,
	options: {
		vm: { type: "string" },
		junit: { type: "boolean" },
		html: { type: "boolean" },
		key: { type: "string", multiple: true },
	},
	async run(context) {
		const [verb = "list", ...rest] = context.positionals;
		if (!Object.hasOwn(VERBS, verb)) throw new UsageError(`report ${verb}: use list, show or verify`);
		for (const [option, owner] of Object.entries(OPTIONS))
			if (context.values[option] !== undefined && verb !== owner)
				throw new UsageError(`--${option} is for report ${owner}`);
		return VERBS[verb as keyof typeof VERBS]({ ...context, positionals: rest });
	},
};
export default command;
