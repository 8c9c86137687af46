/** One more disk for a VM that is off, or other content for one that it has. The old file stays where it is. */
import type { RegisterDisk } from "../contract.js";
import { HypervisorError } from "../errors.js";
import { writeDefinition } from "./definition.js";
import { lockVm, stateOf, type Vm } from "./vm.js";

export const attachDisk = async (vm: Vm, disk: RegisterDisk, replace: boolean): Promise<void> => {
	const lock = lockVm(vm);
	try {
		if ((await stateOf(vm)) !== "off") throw new HypervisorError("STATE", `VM ${vm.name} is on: power it off first`);
		const { name, source, format } = disk;
		const { config, disks } = vm.definition;
		const has = config.disks.some((one) => one.name === name);
		if (has && !replace) throw new HypervisorError("STATE", `VM ${vm.name} has a disk ${name} already`);
		const virtio = config.disks.filter(({ bus }) => bus === "virtio");
		const unit = Math.max(-1, ...virtio.map((one) => one.unit)) + 1;
		const added = { bus: "virtio" as const, controller: 0, unit, path: source, name, unprotected: null };
		writeDefinition(vm.places.definition, {
			...vm.definition,
			config: {
				...config,
				disks: has
					? config.disks.map((one) => (one.name === name ? { ...one, path: source } : one))
					: [...config.disks, added],
			},
			disks: { ...disks, [name]: { source, format } },
		});
	} finally {
		lock.release();
	}
};
