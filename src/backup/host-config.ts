/** The VM's configuration as it is stored: which of its disks are in the point, and why others are not. */
import type { Snapshot, VmDescription } from "../hypervisor/index.js";
import type { VmConfig } from "../vm/index.js";

export function configOfPoint({ config }: VmDescription, { disks, left }: Pick<Snapshot, "disks" | "left">): VmConfig {
	const notes = [...config.notes];
	const known = config.disks.map((disk) => {
		if (disk.name === null || disks.some(({ name }) => name === disk.name)) return disk;
		const why = left.find(({ name }) => name === disk.name)?.why ?? "the snapshot does not have it";
		notes.push(`disk ${disk.name} is not in the backup: ${why}`);
		return { ...disk, name: null, unprotected: disk.unprotected ?? why };
	});
	for (const { name } of disks) {
		if (known.some((disk) => disk.name === name)) continue;
		// Added between the two questions.
		notes.push(`${name} is not in the configuration: added on virtio`);
		const unit = 1 + Math.max(-1, ...known.filter(({ bus }) => bus === "virtio").map((disk) => disk.unit));
		known.push({ bus: "virtio", controller: 0, unit, path: null, name, unprotected: null });
	}
	return { ...config, disks: known, notes };
}
