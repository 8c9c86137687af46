/** springback release */
import type { Command } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed } from "../keys.js";
import { positionals, text } from "../values.js";

const command: Command = {
	summary: "lets a held restore point go again",
	help: `springback release VM@POINT [--session NAME]
  Takes the holds of people away; the policy decides again.
  --session NAME  takes away the use by that session instead, for one whose state directory is lost for good. A
                  session that still exists cannot go on when its point is removed.`,
	options: { session: { type: "string" } },
	async run(context) {
		const [spec] = positionals(context, ["VM@POINT"]);
		const session = text(context, "session");
		const repository = await openNamed(context);
		try {
			const point = await repository.resolve(spec);
			const name = `${point.vm}@${point.id.slice(0, 8)}`;
			const holds = (await repository.holds()).filter((hold) => hold.point === point.id);
			const chosen = holds.filter((hold) =>
				session === undefined ? hold.kind === "person" : hold.session?.name === session,
			);
			if (session !== undefined && chosen.length === 0)
				throw new UsageError(
					`${name} is not used by a session "${session}"; "springback hold" lists what holds points`,
				);
			for (const hold of chosen) await repository.release(hold);
			const left = holds.filter((hold) => !chosen.includes(hold));
			for (const hold of left)
				if (hold.kind === "session") context.out.say(`note: session ${hold.session?.name} still uses ${name}`);
			context.out.result(
				{ point: point.id, vm: point.vm, released: chosen.length, held: left.length > 0 },
				chosen.length > 0 ? `${name} is released` : `${name} was not held`,
			);
			return EXIT.ok;
		} finally {
			await repository.close();
		}
	},
};
export default command;
