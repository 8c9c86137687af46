/** springback restore */
import { resolve } from "node:path";
import { restoreDisk, restoreVm } from "../../recovery/index.js";
import type { Point, Repository } from "../../repository/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed } from "../keys.js";
import { bytes } from "../output.js";
import { inWorld } from "../recovering.js";
import { flag, positionals, text } from "../values.js";
import { planOptions } from "./recover.js";

const VM_OPTIONS = ["name", "network", "isolated", "replace", "original-gone", "power-on", "dry-run"];

const command: Command = {
	summary: "writes a VM back to storage of a host, or one disk into a VM",
	help: `springback restore VM[@POINT] --host NAME --to STORAGE
  Writes the disks as raw files into a folder of the host and registers the VM with its configuration. It stays off.
  Nothing on the host changes before all is written. For a VM that runs at once: springback recover.
  --host NAME   where it is registered (springback hosts)
  --to STORAGE  an existing folder of the host
  --overwrite   replaces a VM of that name, which must be off, and files in the folder
  --power-on    powers it on
  --dry-run     says what it would do
  --name, --network FROM=TO, --isolated, --replace, --original-gone   as in recover
springback restore VM[@POINT] --host NAME --to STORAGE --disk N --attach VM
  One disk, by number (from 0) or name, into a VM that is off.
  --overwrite   in the place of the disk of that name; the old file stays`,
	options: {
		host: { type: "string" },
		to: { type: "string" },
		overwrite: { type: "boolean" },
		"power-on": { type: "boolean" },
		"dry-run": { type: "boolean" },
		name: { type: "string" },
		network: { type: "string", multiple: true },
		isolated: { type: "boolean" },
		replace: { type: "boolean" },
		"original-gone": { type: "boolean" },
		disk: { type: "string" },
		attach: { type: "string" },
	},
	async run(context) {
		const [spec] = positionals(context, ["VM[@POINT]"]);
		const [host, to] = ["host", "to"].map((option) => {
			const value = text(context, option);
			if (value === undefined) throw new UsageError(`--${option} is missing`);
			return value;
		});
		const [disk, attach] = [text(context, "disk"), text(context, "attach")];
		if ((disk === undefined) !== (attach === undefined))
			throw new UsageError("--disk N and --attach VM belong together; springback export writes a disk to a file");
		const needless = disk !== undefined && VM_OPTIONS.find((option) => context.values[option] !== undefined);
		if (needless) throw new UsageError(`--${needless} is for a whole VM, not for --disk`);
		const where = { host, to: resolve(to), overwrite: flag(context, "overwrite") };
		const repository = await openNamed(context, { hashContent: true });
		try {
			const point = await repository.resolve(spec);
			return disk === undefined || attach === undefined
				? await wholeVm(context, where, repository, point)
				: await oneDisk(context, { ...where, disk, attach }, repository, point);
		} finally {
			await repository.close();
		}
	},
};
export default command;

interface Where {
	host: string;
	to: string;
	overwrite: boolean;
}

async function wholeVm(context: Context, where: Where, repository: Repository, point: Point): Promise<number> {
	const began = performance.now();
	const bar = context.out.progress("restore");
	try {
		const options = { ...planOptions(context), powerOn: flag(context, "power-on"), dryRun: flag(context, "dry-run") };
		const request = { ...where, ...options, progress: bar.update };
		const { plan, id, disks } = await inWorld(context, {}, (world) => restoreVm(request, repository, point, world));
		bar.end();
		const { name, kept, findings, refused } = plan;
		const facts = { vm: point.vm, point: point.id, host: where.host, name, identity: kept ? "kept" : "new", findings };
		if (options.dryRun) {
			const lines = findings.map(({ level, what, message }) => `${level.padEnd(8)} ${what}: ${message}`);
			context.out.result({ ...facts, dryRun: true, refused: refused.length > 0 }, lines.join("\n"));
			return refused.length > 0 ? EXIT.failure : EXIT.ok;
		}
		const seconds = Math.round(performance.now() - began) / 1000;
		const written = disks.reduce((sum, disk) => sum + disk.written, 0);
		context.out.result(
			{ ...facts, id, disks, seconds },
			`${name} is ${options.powerOn ? "running" : "registered"} on ${where.host}: ${disks.map(({ path }) => path).join(", ")}, ${bytes(written)} written in ${seconds.toFixed(1)} s`,
		);
		return EXIT.ok;
	} finally {
		bar.end();
	}
}

async function oneDisk(
	context: Context,
	where: Where & { disk: string; attach: string },
	repository: Repository,
	point: Point,
): Promise<number> {
	const bar = context.out.progress("restore");
	try {
		const request = { ...where, progress: bar.update };
		const done = await inWorld(context, {}, (world) => restoreDisk(request, repository, point, world));
		bar.end();
		const { vm, disk, before } = done;
		const old = before === null ? "" : `; ${before} is no longer used by it`;
		context.out.result(
			{ vm: point.vm, point: point.id, host: where.host, attached: vm, disk, before },
			`${disk.disk} of ${point.vm}@${point.id.slice(0, 8)} is in ${disk.path}, a disk of ${vm}${old}`,
		);
		return EXIT.ok;
	} finally {
		bar.end();
	}
}
