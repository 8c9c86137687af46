/** springback backup */
import { backup } from "../../backup/index.js";
import { checkTag, checkVmName } from "../../repository/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed } from "../keys.js";
import { bytes } from "../output.js";
import { compressionOption, positionals, size, text, texts } from "../values.js";
import { backupFromHost, HOST_HELP, HOST_OPTIONS } from "./backup-host.js";
import { backupFromSession, SESSION_HELP } from "./backup-session.js";

const command: Command = {
	summary: "makes a restore point of a VM: from its hypervisor, from disk images or NBD exports",
	help: `springback backup VM --disk [NAME=]SRC… [--config FILE] [--since POINT --changes [DISK=]FILE…] [--tag TAG]…
  Stores one restore point; only blocks that the repository does not have yet are written.
  --disk SRC     raw, qcow2 or vmdk file (by extension, or raw:PATH, qcow2:PATH, vmdk:PATH), nbd://… or
                 nbd+unix:///…; repeat for each disk, in order; names are disk0, disk1, … unless given
  --config FILE  the VM's .vmx or libvirt domain XML; without it the firmware is guessed from the first disk
  --since POINT  an older restore point of this VM; with it, for each disk whose changes are known:
  --changes FILE JSON array of {"offset": BYTES, "length": BYTES}: only these parts are read, the rest is shared with
                 POINT; DISK=FILE, or in the order of the disks. What is missing in it is missing in the backup.
  --read-limit N read no faster than N bytes a second, all disks together (50m)
  --compression C  none, lz4, zstd or zstd:1 to zstd:19, for what is new in this backup (default: the repository's)
  --tag TAG      a word that "forget --tag" can tell the point by; may be repeated
  Images must not change meanwhile: use a snapshot, or a VM that is off.
${HOST_HELP}
${SESSION_HELP}
springback backup --vms FILE [--parallel N] [--read-limit N] [--compression C] [--tag TAG]…
  The VMs that FILE names, N at once; a restore point each. What is common to them is stored once. FILE is YAML:
    vms:
      web1: { disks: [web1.qcow2, data=web1-data.raw], config: web1.xml, tags: [daily] }
  also since, changes, compression; relative paths begin at the folder of FILE`,
	options: {
		session: { type: "string" },
		...HOST_OPTIONS,
		host: { type: "string" },
		disk: { type: "string", multiple: true },
		config: { type: "string" },
		since: { type: "string" },
		changes: { type: "string", multiple: true },
		"read-limit": { type: "string" },
		compression: { type: "string" },
		tag: { type: "string", multiple: true },
		vms: { type: "string" },
		parallel: { type: "string" },
	},
	async run(context) {
		refuseMixed(context);
		if (text(context, "vms") !== undefined)
			return (await import("../backup-several.js")).runSeveral(context, readLimit(context));
		if (text(context, "parallel") !== undefined) throw new UsageError("--parallel is for --vms");
		const session = text(context, "session");
		const [vm] = positionals(context, session === undefined ? ["VM"] : []);
		const disks = texts(context, "disk");
		const tags = texts(context, "tag");
		refuseNames(vm ?? text(context, "as"), tags);
		const compression = compressionOption(context);
		const host = text(context, "host");
		if (session !== undefined) return backupFromSession(context, session, { tags, compression });
		if (host !== undefined)
			return backupFromHost(context, host, { vm, tags, compression, readLimit: readLimit(context) });
		const repository = await openNamed(context);
		const bar = context.out.progress("backup");
		try {
			const { notes, warnings, ...report } = await backup(repository, {
				vm,
				disks,
				config: text(context, "config"),
				since: text(context, "since"),
				changes: texts(context, "changes"),
				readLimit: readLimit(context),
				compression,
				tags,
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
function refuseNames(vm: string | undefined, tags: string[]): void {
	try {
		if (vm !== undefined) checkVmName(vm);
		for (const tag of tags) checkTag(tag);
	} catch (error) {
		throw new UsageError((error as Error).message);
	}
}

/** Disks come from files, a host or a session, and each way has options of its own. */
function refuseMixed({ values }: Context): void {
	const way = ["vms", "session", "host"].find((option) => values[option] !== undefined);
	const ofFiles = ["disk", "config", "since", "changes"];
	const ofHost = ["host", ...Object.keys(HOST_OPTIONS)];
	const wrong = {
		vms: ["session", ...ofHost],
		session: [...ofFiles, ...ofHost.filter((option) => option !== "as"), "read-limit"],
		host: ofFiles,
		disk: ofHost,
	}[way ?? "disk"]!;
	const given = wrong.find((option) => values[option] !== undefined);
	if (given === undefined) return;
	throw new UsageError(way === undefined ? `--${given} needs --host` : `--${given} does not go with --${way}`);
}

function readLimit(context: Context): number | undefined {
	if (text(context, "read-limit") === undefined) return undefined;
	const limit = size(context, "read-limit", 0);
	if (limit > 0) return limit;
	throw new UsageError("--read-limit 0: nothing could be read; leave it out for no limit");
}
