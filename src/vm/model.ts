/**
 * The neutral VM configuration. Stored with each restore point as JSON, so fields are only ever added; `version`
 * changes when an old reader would misunderstand a new document.
 */

export type Firmware = "bios" | "uefi";
export type Bus = "scsi" | "sata" | "ide" | "nvme" | "virtio" | "usb";
export const BUSES: readonly Bus[] = ["scsi", "sata", "ide", "nvme", "virtio", "usb"];

export interface Controller {
	bus: Bus;
	number: number;
	/** as the source names it in lower case: "pvscsi", "lsilogic", "lsisas1068", "virtio-scsi", "ahci", … */
	model: string | null;
}

export interface VmDisk {
	bus: Bus;
	controller: number;
	unit: number;
	/** as the source's configuration names the file or device; never opened from here */
	path: string | null;
	/** name of the restore point's disk that holds its content; null: not in the backup */
	name: string | null;
	/** why a hypervisor's snapshot leaves it out: "independent"; null otherwise */
	unprotected: string | null;
}

export interface Nic {
	/** "00:50:56:aa:bb:cc", lower case */
	mac: string | null;
	/** as the source names it in lower case: "vmxnet3", "e1000", "virtio", … */
	model: string | null;
	/** port group, network or bridge of the source */
	network: string | null;
	connected: boolean;
}

export interface VmConfig {
	version: 1;
	name: string | null;
	/** lower case, dashed */
	uuid: string | null;
	memoryMiB: number;
	cpus: number;
	coresPerSocket: number | null;
	firmware: Firmware;
	secureBoot: boolean;
	tpm: boolean;
	/** VMware guest identifier or libosinfo id */
	guestOs: string | null;
	controllers: Controller[];
	/** in the order in which the firmware looks at them */
	disks: VmDisk[];
	nics: Nic[];
	/** name of the NVRAM file among the point's files */
	nvram: string | null;
	source: "vmx" | "libvirt" | "guess";
	/** what was assumed or could not be represented, one sentence each */
	notes: string[];
}

/** What a VM gets when its backup was made without a configuration. */
export const DEFAULT_MEMORY_MIB = 2048;
export const DEFAULT_CPUS = 2;

/**
 * Reads back what a repository stored. Undefined for null or a document of a newer version; throws nothing:
 * fields of the wrong type get their defaults, so a damaged configuration never stops a recovery.
 */
export function vmConfigFrom(stored: unknown): VmConfig | undefined {
	if (!isRecord(stored) || stored.version !== 1) return undefined;
	const { firmware, source } = stored;
	return {
		version: 1,
		name: text(stored.name),
		uuid: text(stored.uuid),
		memoryMiB: count(stored.memoryMiB) ?? DEFAULT_MEMORY_MIB,
		cpus: count(stored.cpus) ?? DEFAULT_CPUS,
		coresPerSocket: count(stored.coresPerSocket),
		firmware: firmware === "uefi" ? "uefi" : "bios",
		secureBoot: stored.secureBoot === true,
		tpm: stored.tpm === true,
		guestOs: text(stored.guestOs),
		controllers: list(stored.controllers).flatMap((c) => {
			const bus = busOf(c.bus);
			return bus ? [{ bus, number: count(c.number) ?? 0, model: text(c.model) }] : [];
		}),
		disks: list(stored.disks).flatMap((d) => {
			const bus = busOf(d.bus);
			if (!bus) return [];
			const place = { bus, controller: count(d.controller) ?? 0, unit: count(d.unit) ?? 0 };
			return [{ ...place, path: text(d.path), name: text(d.name), unprotected: text(d.unprotected) }];
		}),
		nics: list(stored.nics).map((n) => ({
			mac: text(n.mac),
			model: text(n.model),
			network: text(n.network),
			connected: n.connected !== false,
		})),
		nvram: text(stored.nvram),
		source: source === "vmx" || source === "libvirt" ? source : "guess",
		notes: Array.isArray(stored.notes) ? stored.notes.filter((note) => typeof note === "string") : [],
	};
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
	typeof value === "object" && value !== null && !Array.isArray(value);
const list = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter(isRecord) : []);
const text = (value: unknown): string | null => (typeof value === "string" && value !== "" ? value : null);
const count = (value: unknown): number | null =>
	typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
const busOf = (value: unknown): Bus | undefined => BUSES.find((bus) => bus === value);
