/** Hosts by type. */
import type { Hypervisor } from "./contract.js";
import { HypervisorError } from "./errors.js";

const DRIVERS: Readonly<Record<string, (uri: string) => Promise<Hypervisor>>> = {
	qemu: async (uri) => new (await import("./qemu/host.js")).QemuHost(uri),
	libvirt: async (uri) => new (await import("./libvirt/host.js")).LibvirtHost(uri),
};

export const HOST_TYPES: readonly string[] = Object.keys(DRIVERS);

/** Rejects with INVALID for a type or URI that means nothing here; nothing is asked of the host yet. */
export const openHost = async (type: string, uri: string): Promise<Hypervisor> => {
	if (!Object.hasOwn(DRIVERS, type))
		throw new HypervisorError("INVALID", `hosts of type ${type} are not supported: use ${HOST_TYPES.join(", ")}`);
	return DRIVERS[type](uri);
};
