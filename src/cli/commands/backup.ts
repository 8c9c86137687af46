/** springback backup */
import { backup } from "../../backup/index.js";
import { checkVmName, openRepository } from "../../repository/index.js";
import type { Command } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { bytes } from "../output.js";
import { repositoryPath } from "../places.js";
import { positionals, text, texts } from "../values.js";

const command: Command = {
	summary: "makes a restore point of a VM from disk images or NBD exports",
	help: `springback backup VM --disk [NAME=]SRC… [--config FILE]
  Stores one restore point; only blocks that the repository does not have yet are written.
  --disk SRC     raw, qcow2 or vmdk file (by extension, or raw:PATH, qcow2:PATH, vmdk:PATH), nbd://… or
                 nbd+unix:///…; repeat for each disk, in order; names are disk0, disk1, … unless given
  --config FILE  the VM's .vmx or libvirt domain XML; without it the firmware is guessed from the first disk
  Images must not change meanwhile: use a snapshot, or a VM that is off.`,
	options: { disk: { type: "string", multiple: true }, config: { type: "string" } },
	async run(context) {
		const [vm] = positionals(context, ["VM"]);
		const disks = texts(context, "disk");
		refuseVmName(vm);
		const repository = await openRepository(repositoryPath(context));
		const bar = context.out.progress("backup");
		try {
			const { notes, warnings, ...report } = await backup(repository, {
				vm,
				disks,
				config: text(context, "config"),
				progress: (p) => bar.update(p),
				signal: context.signal,
			});
			bar.end();
			for (const note of notes) context.out.say(`note: ${note}`);
			for (const warning of warnings) context.out.say(`warning: ${warning}`);
			const sum = (of: "size" | "read" | "new" | "stored") => report.disks.reduce((n, disk) => n + disk[of], 0);
			context.out.result(
				report,
				`${vm}@${report.point.slice(0, 8)}: ${bytes(sum("size"))} in ${report.disks.length} disks, ${bytes(sum("read"))} read, ` +
					`${bytes(sum("new"))} new, ${bytes(sum("stored"))} stored, ${report.seconds.toFixed(1)} s`,
			);
			return warnings.length > 0 ? EXIT.warnings : EXIT.ok;
		} finally {
			bar.end();
			await repository.close();
		}
	},
};
export default command;

/** Before anything is opened: a name that cannot be is a wrong argument. */
function refuseVmName(vm: string): void {
	try {
		checkVmName(vm);
	} catch (error) {
		throw new UsageError((error as Error).message);
	}
}
