/** springback forget */
import type { ForgetReport, RetentionPolicy } from "../../repository/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed } from "../keys.js";
import { localTime, table } from "../output.js";
import { statePath } from "../places.js";
import { dropStaleUses, sessionUses } from "../session-uses.js";
import { count, flag, span, texts } from "../values.js";

const command: Command = {
	summary: "removes restore points, by a policy or by name",
	help: `springback forget [VM…] --keep-… [--tag TAG] [--dry-run] [--force]
  Applies a policy to each VM on its own: what no rule keeps is removed. Rules count back from the VM's newest
  point, so a VM that is no longer backed up loses nothing more. A VM's last point always stays, as do points that
  are held, read, or used by a session.
  --keep-last N       the newest N points
  --keep-hourly N     the newest point of each of the newest N hours that have one; likewise
  --keep-daily N      --keep-weekly N, --keep-monthly N, --keep-yearly N (local time, weeks begin on Monday)
  --keep-within D     all points at most so much older than the newest: 12h, 7d, 2w, 6m, 1y, or 1y6m
  --tag TAG           only points with that tag (backup --tag) are looked at; may be repeated
springback forget VM@POINT… [--dry-run] [--force]
  Removes the points named. A VM's last one needs --force.
  --dry-run           shows for every point whether it stays and why; removes nothing
  --force             also where the clock jumped, more than half of a VM's points would go, or its last one is named
  Space is given back by "springback prune".`,
	options: {
		"keep-last": { type: "string" },
		"keep-hourly": { type: "string" },
		"keep-daily": { type: "string" },
		"keep-weekly": { type: "string" },
		"keep-monthly": { type: "string" },
		"keep-yearly": { type: "string" },
		"keep-within": { type: "string" },
		tag: { type: "string", multiple: true },
		"dry-run": { type: "boolean" },
		force: { type: "boolean" },
	},
	async run(context) {
		const what = selection(context);
		const dryRun = flag(context, "dry-run");
		const repository = await openNamed(context);
		try {
			const state = statePath(context);
			if (!dryRun) await dropStaleUses(repository, state);
			const report = await repository.forget({
				what,
				inUse: sessionUses(repository, state),
				force: flag(context, "force"),
				dryRun,
				now: () => new Date(),
				signal: context.signal,
			});
			const wanting = report.refused.filter(({ forced }) => !forced);
			for (const { vm, doubts } of wanting)
				context.out.say(
					`${vm}: ${doubts.join("; ")}: ${dryRun ? "this will want" : "nothing removed without"} --force`,
				);
			context.out.result(report, shown(report));
			return wanting.length > 0 ? EXIT.warnings : EXIT.ok;
		} finally {
			await repository.close();
		}
	},
};
export default command;

type What = { policy: RetentionPolicy; vms: string[]; tags: string[] } | { specs: string[] };

function selection(context: Context): What {
	const { positionals } = context;
	const policy: RetentionPolicy = {
		last: count(context, "keep-last"),
		hourly: count(context, "keep-hourly"),
		daily: count(context, "keep-daily"),
		weekly: count(context, "keep-weekly"),
		monthly: count(context, "keep-monthly"),
		yearly: count(context, "keep-yearly"),
		within: span(context, "keep-within"),
	};
	const ruled = Object.values(policy).some((rule) => rule !== undefined);
	const tags = texts(context, "tag");
	const specs = positionals.filter((word) => word.includes("@"));
	if (specs.length === 0) {
		if (!ruled)
			throw new UsageError("say what to keep (--keep-last 7, --keep-daily 14, …) or which VM@POINT to remove");
		if (Object.values(policy).every((rule) => rule === undefined || rule === 0))
			throw new UsageError("a policy that keeps nothing is not one: give one of the --keep options more than 0");
		return { policy, vms: positionals, tags };
	}
	if (specs.length < positionals.length)
		throw new UsageError(
			`"${positionals.find((word) => !word.includes("@"))}": name points (VM@POINT) or VMs, not both`,
		);
	if (ruled || tags.length > 0) throw new UsageError("points that are named need no --keep options and no --tag");
	return { specs };
}

function shown({ dryRun, points, removed }: ForgetReport): string {
	const rows = points.map(({ id, vm, time, keep, reasons }) => [
		id.slice(0, 8),
		vm,
		localTime(time),
		keep ? "stays" : dryRun ? "goes" : "removed",
		reasons.join(", "),
	]);
	if (rows.length === 0) return "no restore points";
	const going = points.filter(({ keep }) => !keep).length;
	const sum = dryRun ? `${going} of ${points.length} would go` : `${removed} of ${points.length} removed`;
	return `${table(["POINT", "VM", "TIME", "", "WHY"], rows)}\n${sum}`;
}
