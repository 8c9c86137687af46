/** What a VM from a restore point is to be, as far as the point itself tells. */
import type { Point } from "../repository/index.js";
import { DEFAULT_CPUS, DEFAULT_MEMORY_MIB, type VmConfig, vmConfigFrom } from "../vm/index.js";
import { Findings } from "./findings.js";

/** `stored`: as the source said, or defaults; `withDisks`: the same with the disks that the point has, all of them. */
export const configOf = (point: Point, findings = new Findings()): { stored: VmConfig; withDisks: VmConfig } => {
	const stored = vmConfigFrom(point.config) ?? unknownConfig(point);
	return { stored, withDisks: placeDisks(stored, point, findings) };
};

const unknownConfig = (point: Point): VmConfig => ({
	...{ version: 1, name: point.vm, uuid: null, memoryMiB: DEFAULT_MEMORY_MIB, cpus: DEFAULT_CPUS },
	...{ coresPerSocket: null, firmware: "bios", secureBoot: false, tpm: false, guestOs: null },
	...{ controllers: [], disks: [], nics: [], nvram: null, source: "guess" },
	notes: ["the restore point has no configuration: memory, processors and controllers are defaults"],
});

/** The disks of the configuration that the point has, and those that only the point has. */
const placeDisks = (config: VmConfig, point: Point, findings: Findings): VmConfig => {
	for (const { name, path, bus, unit } of config.disks)
		if (!point.disks.some((disk) => disk.name === name))
			findings.warning("disks", `${path ?? name ?? `${bus} ${unit}`} is not in the restore point: left out`);
	const kept = config.disks.filter(({ name }) => point.disks.some((disk) => disk.name === name));
	const more = point.disks.filter(({ name }) => !kept.some((disk) => disk.name === name));
	let unit = Math.max(-1, ...kept.filter(({ bus }) => bus === "virtio").map((disk) => disk.unit));
	const added = more.map(({ name }) => {
		findings.changed("disks", `${name} is not in the configuration: a virtio disk`);
		unit += 1;
		return { bus: "virtio" as const, controller: 0, unit, path: null, name, unprotected: null };
	});
	return { ...config, disks: [...kept, ...added] };
};
