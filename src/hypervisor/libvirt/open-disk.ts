/** One disk of a snapshot, over NBD, with what changed since an earlier one. */
import { connectNbd } from "../../nbd/index.js";
import { changedExtents } from "../changed-extents.js";
import type { SnapshotDisk } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { CHANGED, socketIn } from "./backup-xml.js";
import type { OpenSnapshot } from "./snapshot.js";

export const openDisk = async (open: OpenSnapshot, disk: string, since?: string): Promise<SnapshotDisk> => {
	const { name } = open.domain;
	const found = open.disks.find((one) => one.name === disk);
	if (found === undefined || open.closed)
		throw new HypervisorError(
			"NOT_FOUND",
			`the snapshot of VM ${name} has no disk ${disk}${open.closed ? " any more" : ""}`,
		);
	if (open.opened.has(disk)) throw new HypervisorError("STATE", `disk ${disk} of VM ${name} is open already`);
	open.opened.add(disk);
	const address = { socket: socketIn(open.note.folder!), exportName: found.target, text: `disk ${disk} of VM ${name}` };
	try {
		const image = await connectNbd(address);
		try {
			if (since === undefined) return { image };
			const { known } = found;
			if ("why" in known) return { image, whyAll: known.why };
			if (since !== open.since)
				return { image, whyAll: "libvirt must know when the snapshot is made since when changes are asked for" };
			return { image, changed: await changedExtents(address, CHANGED, image.size) };
		} catch (error) {
			await image.close();
			throw error;
		}
	} catch (error) {
		throw new HypervisorError("FAILED", `VM ${name}: disk ${disk} cannot be opened: ${causeOf(error)}`, {
			cause: error,
		});
	}
};
