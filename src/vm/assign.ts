/** Which stored disk is which disk of the configuration. */
import type { VmConfig, VmDisk } from "./model.js";

export interface StoredDisk {
	name: string;
	/** the source's path or URI */
	path: string | null;
}

const baseName = (path: string): string => path.replace(/^.*[/\\]/, "");

/**
 * Sets `name` of each configured disk: by file name where one fits, the rest in order when equally many are left.
 * A stored disk that fits nowhere gets a place of its own, a configured disk that is not stored keeps null; both
 * are noted. Returns a new configuration.
 */
export function assignDisks(config: VmConfig, stored: StoredDisk[]): VmConfig {
	const disks: VmDisk[] = config.disks.map((disk) => ({ ...disk, name: null }));
	const notes = [...config.notes];
	const left = new Set(stored);
	for (const disk of disks) {
		if (disk.path === null) continue;
		const same = [...left].filter((s) => s.path !== null && baseName(s.path) === baseName(disk.path!));
		if (same.length !== 1) continue;
		disk.name = same[0].name;
		left.delete(same[0]);
	}
	const open = disks.filter((disk) => disk.name === null);
	if (open.length === left.size)
		for (const [i, source] of [...left].entries()) {
			open[i].name = source.name;
			left.delete(source);
		}
	for (const disk of disks)
		if (disk.name === null)
			notes.push(`disk ${disk.bus}${disk.controller}:${disk.unit} of the configuration is not in the backup`);
	for (const source of left) {
		notes.push(`${source.name} is not in the configuration: added on virtio`);
		const unit = 1 + Math.max(-1, ...disks.filter((d) => d.bus === "virtio").map((d) => d.unit));
		disks.push({ bus: "virtio", controller: 0, unit, path: source.path, name: source.name, unprotected: null });
	}
	return { ...config, disks, notes };
}
