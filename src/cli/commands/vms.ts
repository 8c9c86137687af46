/** springback vms */
import { findHost } from "../../catalog/index.js";
import { type HostVm, openHost } from "../../hypervisor/index.js";
import type { Point } from "../../repository/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { counted } from "../faults.js";
import { openNamed } from "../keys.js";
import { bytes, localTime, table } from "../output.js";
import { catalogPlaces, namesRepository } from "../places.js";
import { positionals, text } from "../values.js";

const command: Command = {
	summary: "lists the VMs of a host, and what of them is protected",
	help: `springback vms --host NAME
  Lists VMs and their disks: which are protected, how their changed blocks are known, and why not where they are not.
  With a repository (--repo, SPRINGBACK_REPO) also the newest restore point of each.
  Exit 4 when a disk is not protected or a VM cannot be used.`,
	options: { host: { type: "string" } },
	async run(context) {
		positionals(context, []);
		const name = text(context, "host");
		if (name === undefined) throw new UsageError("--host NAME is missing: springback hosts lists them");
		const { type, uri } = findHost(catalogPlaces(context), name);
		const host = await openHost(type, uri);
		try {
			const vms = await host.list();
			const newest = await newestPoints(context);
			const document = vms.map((vm) => ({ ...vm, protected: isProtected(vm), lastPoint: lastPoint(newest, vm) }));
			context.out.result(document, vms.length === 0 ? `no VMs on ${name}` : document.map(vmLines).join("\n"));
			return vms.every(isProtected) ? EXIT.ok : EXIT.warnings;
		} finally {
			await host.close();
		}
	},
};
export default command;

const isProtected = ({ problem, disks }: HostVm): boolean => problem === null && disks.every((disk) => disk.protected);

/** By VM; undefined when no repository is named. */
async function newestPoints(context: Context): Promise<Map<string, Point> | undefined> {
	if (!namesRepository(context)) return undefined;
	const repository = await openNamed(context);
	try {
		return new Map((await repository.points()).map((point) => [point.vm, point]));
	} finally {
		await repository.close();
	}
}

/** Undefined: no repository was looked at. Null: it has none of this VM. */
function lastPoint(
	newest: Map<string, Point> | undefined,
	{ name }: HostVm,
): { id: string; time: string } | null | undefined {
	if (newest === undefined) return undefined;
	const point = newest.get(name);
	return point === undefined ? null : { id: point.id, time: point.time };
}

const TRACKING = { persistent: "changes known", running: "changes known while it runs", none: "all is compared" };

function vmLines(vm: HostVm & { lastPoint?: { time: string } | null }): string {
	const { name, id, state, session, problem, disks } = vm;
	if (problem !== null) return `${name}  NOT PROTECTED: ${problem}`;
	const last =
		vm.lastPoint === undefined
			? ""
			: vm.lastPoint === null
				? ", no restore point"
				: `, last ${localTime(vm.lastPoint.time)}`;
	const rows = disks.map((disk) => [
		`  ${disk.name}`,
		disk.size === null ? "?" : bytes(disk.size),
		disk.protected ? "protected" : "NOT PROTECTED",
		disk.protected ? TRACKING[disk.tracking] : "",
		disk.why ?? "",
	]);
	const head = `${name}  ${state}  ${id}  ${counted(disks.length, "disk")}${session === null ? "" : `, of session ${session}`}${last}`;
	return rows.length === 0 ? head : [head, ...table(["", "", "", "", ""], rows).split("\n").slice(1)].join("\n");
}
