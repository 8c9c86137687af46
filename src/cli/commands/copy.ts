/** springback copy */
import { type CopyPointReport, copyPoint } from "../../backup/index.js";
import { openRepository, type Point, type Repository } from "../../repository/index.js";
import type { Command } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed, targetKeySource } from "../keys.js";
import { bytes } from "../output.js";
import { text } from "../values.js";

const command: Command = {
	summary: "copies restore points into another repository",
	help: `springback copy [VM[@POINT]…] --to DIR
  Without @POINT all points of the VM, oldest first; without VM all of all. What is there already is left alone,
  so the same command copies what is new since the last time; an interrupted copy is continued by it.
  --to DIR       the repository to copy into; it may differ in block size, compression and encryption
  --to-key-file F  file with its passphrase, if it is encrypted`,
	options: { to: { type: "string" }, "to-key-file": { type: "string" } },
	async run(context) {
		const specs = context.positionals;
		const to = text(context, "to");
		if (!to) throw new UsageError("--to is missing: name the repository to copy into");
		const source = await openNamed(context, { hashContent: true });
		let target: Repository | undefined;
		const bar = context.out.progress("copy");
		try {
			target = await openRepository(to, { key: targetKeySource(context) });
			if (target.id === source.id) throw new UsageError(`--to ${to}: that is the same repository`);
			const reports: CopyPointReport[] = [];
			for (const point of await chosen(source, specs)) {
				const report = await copyPoint(source, target, point, {
					progress: (p) => bar.update({ ...p, what: `${point.vm} ${p.what}` }),
					signal: context.signal,
				});
				bar.end();
				reports.push(report);
				if (!report.existed) context.out.say(line(report));
			}
			const copied = reports.filter(({ existed }) => !existed).length;
			context.out.result(reports, `${copied} restore points copied to ${to}, ${reports.length - copied} were there`);
			return EXIT.ok;
		} finally {
			bar.end();
			await target?.close();
			await source.close();
		}
	},
};
export default command;

async function chosen(source: Repository, specs: string[]): Promise<Point[]> {
	if (specs.length === 0) return source.points();
	const points: Point[] = [];
	for (const spec of specs) {
		const resolved = await source.resolve(spec);
		points.push(...(spec.includes("@") ? [resolved] : await source.points(resolved.vm)));
	}
	return [...new Map(points.map((point) => [point.id, point])).values()];
}

function line({ vm, source, point, disks }: CopyPointReport): string {
	const sum = (of: "read" | "new" | "stored") => bytes(disks.reduce((n, disk) => n + disk[of], 0));
	return `${vm}@${source.slice(0, 8)}: copied as ${point.slice(0, 8)}, ${sum("read")} read, ${sum("new")} new, ${sum("stored")} stored`;
}
