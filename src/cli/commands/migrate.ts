/** springback migrate */
import { isVerified, migrate } from "../../recovery/index.js";
import type { Command } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { bytes } from "../output.js";
import { inWorld } from "../recovering.js";
import { positionals, size, text } from "../values.js";

const command: Command = {
	summary: "moves a recovered VM to storage of its host while it runs",
	help: `springback migrate SESSION --to STORAGE [--limit RATE]
  Copies each disk while the guest works, changes it over, and compares both places as they were in that moment. Ctrl-C
  stops it without harm before the change-over. The same command again continues. Then "springback finish SESSION".
  --to STORAGE   a folder of the host, or the name of a storage pool there
  --limit RATE   bytes a second at most (100m)
  Exit 3 when a disk is not the same in its new place, 4 when that could not be proven.`,
	options: { to: { type: "string" }, limit: { type: "string" } },
	async run(context) {
		const [session] = positionals(context, ["SESSION"]);
		const to = text(context, "to");
		if (to === undefined) throw new UsageError("--to STORAGE is missing: a folder of the host, or a pool");
		const rate = text(context, "limit") === undefined ? undefined : size(context, "limit", 0);
		if (rate === 0) throw new UsageError("--limit 0: nothing could be copied; leave it out for no limit");
		const bar = context.out.progress("migrate");
		try {
			const began = performance.now();
			const record = await inWorld(context, {}, (world) =>
				migrate(session, { to, rate, progress: (p) => bar.update(p) }, world),
			);
			bar.end();
			const { disks } = record.migration!;
			const seconds = Math.round(performance.now() - began) / 1000;
			const verified = isVerified(record);
			const damaged = disks.some((disk) => disk.pausedMs > 0 && disk.different > 0);
			context.out.result(
				{ session, host: record.host, name: record.name, to: record.migration!.to, verified, disks, seconds },
				[
					...disks.map(
						({ disk, compared, sha256, verified, pausedMs }) =>
							`${disk}: ${bytes(compared)}, ${verified ? `the same in both places (SHA-256 ${sha256.slice(0, 16)}…)` : "NOT proven to be the same"}, guest paused for ${pausedMs} ms`,
					),
					`${record.name} is on ${record.migration!.to}; springback finish ${session} ${verified ? "frees the session" : "puts the session into the trash"}`,
				].join("\n"),
			);
			return damaged ? EXIT.fault : verified ? EXIT.ok : EXIT.warnings;
		} finally {
			bar.end();
		}
	},
};
export default command;
