/** springback hold */
import type { Command } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed } from "../keys.js";
import { positionals, text } from "../values.js";

const command: Command = {
	summary: "keeps a restore point from being removed until it is released",
	help: `springback hold VM@POINT [--reason TEXT]
  The point stays whatever the policy says. The hold is kept in the repository.
  --reason TEXT  shown by points and forget
springback hold
  Lists what holds points: people, and sessions.`,
	options: { reason: { type: "string" } },
	async run(context) {
		const [spec] = positionals(context, ["VM@POINT"], 0);
		const reason = text(context, "reason") ?? "";
		if (reason.length > 1000) throw new UsageError("--reason is longer than 1000 characters");
		const repository = await openNamed(context);
		try {
			if (spec === undefined) {
				const points = new Map((await repository.points()).map((point) => [point.id, point]));
				const holds = (await repository.holds()).filter(({ point }) => points.has(point));
				const document = holds.map(({ point, kind, since, reason, session }) => ({
					point,
					vm: points.get(point)!.vm,
					kind,
					since,
					reason,
					...(session === undefined ? {} : { session: session.name, host: session.host }),
				}));
				const line = (h: (typeof document)[number]) =>
					`${h.vm}@${h.point.slice(0, 8)}  ${h.kind === "session" ? `session ${h.session} on ${h.host}` : h.reason || "held"}`;
				context.out.result(document, document.map(line).join("\n") || "nothing is held");
				return EXIT.ok;
			}
			const point = await repository.resolve(spec);
			const since = new Date().toISOString();
			await repository.hold(point, { kind: "person", since, reason });
			context.out.result(
				{ point: point.id, vm: point.vm, held: true, reason },
				`${point.vm}@${point.id.slice(0, 8)} of ${point.time} is held; let it go with: springback release ${point.vm}@${point.id.slice(0, 8)}`,
			);
			return EXIT.ok;
		} finally {
			await repository.close();
		}
	},
};
export default command;
