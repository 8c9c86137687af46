/** springback vms */
import { hostFactsOf } from "../../backup/index.js";
import { findHost } from "../../catalog/index.js";
import { type HostDisk, type HostVm, openHost } from "../../hypervisor/index.js";
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
  With a repository (--repo, SPRINGBACK_REPO) also the newest restore point of each VM and disk: what has none is not
  protected. Exit 4 when something is not protected or a VM cannot be used.`,
	options: { host: { type: "string" } },
	async run(context) {
		positionals(context, []);
		const name = text(context, "host");
		if (name === undefined) throw new UsageError("--host NAME is missing: springback hosts lists them");
		const { type, uri } = findHost(catalogPlaces(context), name);
		const host = await openHost(type, uri);
		try {
			const vms = await host.list();
			const points = namesRepository(context) ? await pointsOf(context) : undefined;
			const document = vms.map((vm) => listed(vm, points, { type, uri }));
			context.out.result(document, vms.length === 0 ? `no VMs on ${name}` : document.map(vmLines).join("\n"));
			return document.every((vm) => vm.protected) ? EXIT.ok : EXIT.warnings;
		} finally {
			await host.close();
		}
	},
};
export default command;

interface LastPoint {
	id: string;
	time: string;
}

/** `lastPoint` undefined: no repository was looked at; null: it has none. */
type Listed = Omit<HostVm, "disks"> & {
	protected: boolean;
	lastPoint?: LastPoint | null;
	disks: (HostDisk & { lastPoint?: LastPoint | null })[];
};

async function pointsOf(context: Context): Promise<Point[]> {
	const repository = await openNamed(context);
	try {
		return await repository.points();
	} finally {
		await repository.close();
	}
}

function listed(vm: HostVm, points: Point[] | undefined, host: { type: string; uri: string }): Listed {
	const own = points?.filter((point) => isOf(point, vm, host));
	const last = (has: (point: Point) => boolean): LastPoint | null | undefined => {
		if (own === undefined) return undefined;
		const point = own.findLast(has);
		return point === undefined ? null : { id: point.id, time: point.time };
	};
	const disks = vm.disks.map((disk) => ({
		...disk,
		lastPoint: last((point) => point.disks.some(({ name }) => name === disk.name)),
	}));
	return {
		...vm,
		disks,
		protected: vm.problem === null && disks.every((disk) => disk.protected && disk.lastPoint !== null),
		lastPoint: last(() => true),
	};
}

/** By host and id; a point that was made from files knows only a name. */
function isOf(point: Point, vm: HostVm, { type, uri }: { type: string; uri: string }): boolean {
	const facts = hostFactsOf(point);
	return facts === undefined ? point.vm === vm.name : facts.vm === vm.id && facts.type === type && facts.uri === uri;
}

const TRACKING = { persistent: "changes known", running: "changes known while it runs", none: "all is compared" };

const lastWords = (point: LastPoint | null | undefined): string =>
	point === undefined ? "" : point === null ? ", no restore point" : `, last ${localTime(point.time)}`;

function vmLines({ name, id, state, session, problem, disks, lastPoint }: Listed): string {
	if (problem !== null) return `${name}  NOT PROTECTED: ${problem}`;
	const rows = disks.map((disk) => [
		`  ${disk.name}`,
		disk.size === null ? "?" : bytes(disk.size),
		disk.protected && disk.lastPoint !== null ? "protected" : "NOT PROTECTED",
		disk.protected ? `${TRACKING[disk.tracking]}${lastWords(disk.lastPoint)}` : "",
		disk.why ?? "",
	]);
	const head = `${name}  ${state}  ${id}  ${counted(disks.length, "disk")}${session === null ? "" : `, of session ${session}`}${lastWords(lastPoint)}`;
	return rows.length === 0 ? head : [head, ...table(["", "", "", "", ""], rows).split("\n").slice(1)].join("\n");
}
