/** UEFI firmware as distributions build it has drivers for few SCSI controllers. */
import type { VmConfig } from "../vm/index.js";

/**
 * Why a VM could not boot with it; undefined when it can.
 * @param modelOf what the host makes of the SCSI controller of that number
 */
export const unreadByFirmware = (config: VmConfig, modelOf: (controller: number) => string): string | undefined => {
	const [boot] = config.disks;
	if (config.firmware !== "uefi" || boot?.bus !== "scsi") return undefined;
	const model = modelOf(boot.controller);
	if (model.startsWith("virtio")) return undefined;
	return `it boots with UEFI from a ${model} controller, which QEMU's firmware does not read: put its first disk on virtio, virtio-scsi, SATA or NVMe`;
};
