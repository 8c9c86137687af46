/** One disk of a snapshot, over NBD, with what changed since an earlier one. */
import { connectNbd } from "../../nbd/index.js";
import { changedExtents } from "../changed-extents.js";
import type { SnapshotDisk } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { describeNode, OURS } from "./block-nodes.js";
import { bitmapsSince, GRANULARITY } from "./change-tracking.js";
import type { Qmp } from "./qmp.js";
import type { OpenSnapshot } from "./snapshot.js";
import { withQmp } from "./vm.js";

const CHANGED = `${OURS}changed`;

export const openDisk = async (open: OpenSnapshot, disk: string, since?: string): Promise<SnapshotDisk> => {
	const { vm, socket } = open;
	const found = open.nodes.find((one) => one.disk === disk);
	if (found === undefined || open.closed)
		throw new HypervisorError(
			"NOT_FOUND",
			`the snapshot of VM ${vm.name} has no disk ${disk}${open.closed ? " any more" : ""}`,
		);
	try {
		const known = await withQmp(vm, (qmp) => exportDisk(open, qmp, found.index, disk, since), socket);
		const address = { socket: vm.places.nbd, exportName: disk, text: `disk ${disk} of VM ${vm.name}` };
		const image = await connectNbd(address);
		try {
			if ("why" in known) return { image, whyAll: known.why };
			if (!known.tracked) return { image };
			return { image, changed: await changedExtents(address, CHANGED, image.size) };
		} catch (error) {
			await image.close();
			throw error;
		}
	} catch (error) {
		if (error instanceof HypervisorError) throw error;
		throw new HypervisorError("FAILED", `VM ${vm.name}: disk ${disk} cannot be opened: ${causeOf(error)}`, {
			cause: error,
		});
	}
};

const exportDisk = async (
	open: OpenSnapshot,
	qmp: Qmp,
	index: number,
	disk: string,
	since: string | undefined,
): Promise<{ tracked: boolean } | { why: string }> => {
	const { places } = open.vm;
	if (!open.serving)
		await qmp.execute("nbd-server-start", { addr: { type: "unix", data: { path: places.nbd } }, "max-connections": 0 });
	open.serving = true;
	const node = open.access(index);
	const id = `${OURS}e${index}`;
	const exports = await qmp.execute<{ id: string }[]>("query-block-exports");
	if (exports.some((one) => one.id === id))
		throw new HypervisorError("STATE", `disk ${disk} of VM ${open.vm.name} is open already`);
	const base = open.nodes.find((one) => one.index === index)!.node.name;
	const current = since === undefined ? undefined : await describeNode(qmp, base);
	const known = current === undefined ? undefined : bitmapsSince(current, since!, open.bitmap);
	const tracked = known !== undefined && "names" in known;
	if (tracked) {
		await qmp.execute("block-dirty-bitmap-add", { node, name: CHANGED, granularity: GRANULARITY, disabled: true });
		const bitmaps = known.names.map((name) => ({ node: base, name }));
		await qmp.execute("block-dirty-bitmap-merge", { node, target: CHANGED, bitmaps });
	}
	await qmp.execute("block-export-add", {
		type: "nbd",
		id,
		"node-name": node,
		name: disk,
		writable: false,
		...(tracked ? { bitmaps: [CHANGED] } : {}),
	});
	return known !== undefined && "why" in known ? known : { tracked };
};
