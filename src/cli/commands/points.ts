/** springback points */
import { holdText } from "../../repository/index.js";
import type { Command } from "../command.js";
import { EXIT, errorLine } from "../exit.js";
import { openNamed } from "../keys.js";
import { bytes, localTime, table } from "../output.js";
import { positionals } from "../values.js";

const command: Command = {
	summary: "lists restore points, newest last",
	help: `springback points [VM]
  Lists the restore points of one VM or of all, newest last.`,
	options: {},
	async run(context) {
		const [vm] = positionals(context, ["VM"], 0);
		const repository = await openNamed(context);
		try {
			const points = await repository.points(vm);
			const holds = await repository.holds().catch((error) => {
				context.out.say(errorLine(error));
				return [];
			});
			const document = points.map(({ id, vm, time, disks, consistency, size_new, parent, tags }) => ({
				id,
				vm,
				time,
				disks: disks.map(({ name, size }) => ({ name, size })),
				consistency,
				size_new,
				parent,
				tags,
				holds: holds.filter(({ point }) => point === id).map(holdText),
			}));
			const rows = document.map((p) => [
				p.id.slice(0, 8),
				p.vm,
				localTime(p.time),
				p.disks.length,
				bytes(p.disks.reduce((sum, disk) => sum + disk.size, 0)),
				bytes(p.size_new),
				p.consistency,
				[...p.tags, ...p.holds].join(", "),
			]);
			context.out.result(
				document,
				rows.length
					? table(["POINT", "VM", "TIME", "DISKS", "SIZE", "NEW", "CONSISTENCY", ""], rows)
					: "no restore points",
			);
			return EXIT.ok;
		} finally {
			await repository.close();
		}
	},
};
export default command;
