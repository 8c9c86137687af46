/** `.vmx` → the neutral model. */
import { uuidFrom } from "./identifiers.js";
import { type Bus, type Controller, DEFAULT_MEMORY_MIB, type Nic, type VmConfig, type VmDisk } from "./model.js";
import { VmxDictionary } from "./vmx-dictionary.js";

/** In the order in which VMware's BIOS and EFI look for a boot disk unless told otherwise. */
const VMX_BUSES = ["scsi", "nvme", "sata", "ide"] as const satisfies Bus[];
const MAX_NICS = 10;
const MAX_PASSED = 16;

/** Throws ConfigError when the text is not a `.vmx`. */
export function parseVmx(bytes: Uint8Array): VmConfig {
	const vmx = VmxDictionary.parse(bytes);
	const notes: string[] = [];
	const memory = vmx.number("memSize");
	if (memory === undefined) notes.push(`memSize is not set: ${DEFAULT_MEMORY_MIB} MiB assumed`);
	notes.push(...onlyVmwareHas(vmx));
	return {
		version: 1,
		name: vmx.get("displayName") || null,
		uuid: uuidFrom(vmx.get("uuid.bios")),
		memoryMiB: memory ?? DEFAULT_MEMORY_MIB,
		cpus: vmx.number("numvcpus") ?? 1,
		coresPerSocket: vmx.number("cpuid.coresPerSocket") ?? null,
		firmware: vmx.get("firmware")?.toLowerCase() === "efi" ? "uefi" : "bios",
		secureBoot: vmx.flag("uefi.secureBoot.enabled"),
		tpm: vmx.flag("vtpm.present"),
		guestOs: vmx.get("guestOS") || null,
		controllers: controllersOf(vmx),
		disks: disksOf(vmx, notes),
		nics: nicsOf(vmx),
		nvram: vmx.get("nvram") || null,
		source: "vmx",
		notes,
	};
}

/** Devices that the neutral model does not know; a VM of another kind comes back without. */
function onlyVmwareHas(vmx: VmxDictionary): string[] {
	const media = devicesOf(vmx).flatMap(({ prefix }) => {
		const file = vmx.get(`${prefix}.fileName`) ?? "";
		const loaded = vmx.flag(`${prefix}.present`) && !isDisk(vmx, prefix) && /\.iso$/i.test(file);
		return loaded ? [`the CD drive ${prefix} with ${file} comes back on VMware only`] : [];
	});
	const devices = Array.from({ length: MAX_PASSED }, (_, n) => `pciPassthru${n}`);
	const passed = devices.filter((prefix) => vmx.flag(`${prefix}.present`));
	return [...media, ...passed.map((prefix) => `the passed-through device ${prefix} comes back on VMware only`)];
}

/** The `.vmx` keys of devices on a bus, e.g. "scsi0:1", as [prefix, controller, unit] in order. */
export function devicesOf(vmx: VmxDictionary): { prefix: string; bus: Bus; controller: number; unit: number }[] {
	const found = new Map<string, { prefix: string; bus: Bus; controller: number; unit: number }>();
	for (const key of vmx.keys()) {
		const match = /^((scsi|sata|ide|nvme)(\d{1,2}):(\d{1,2}))\./.exec(key);
		if (match)
			found.set(match[1], {
				prefix: match[1],
				bus: match[2] as Bus,
				controller: Number(match[3]),
				unit: Number(match[4]),
			});
	}
	const rank = (bus: Bus) => (VMX_BUSES as readonly Bus[]).indexOf(bus);
	return [...found.values()].sort(
		(a, b) => rank(a.bus) - rank(b.bus) || a.controller - b.controller || a.unit - b.unit,
	);
}

/** A hard disk, as against a CD drive, whose file may also be on a bus. */
export function isDisk(vmx: VmxDictionary, prefix: string): boolean {
	if (!vmx.flag(`${prefix}.present`)) return false;
	const type = vmx.get(`${prefix}.deviceType`)?.toLowerCase();
	if (type !== undefined) return type.includes("disk");
	// VMware takes a device without a type for a disk.
	return !/^$|\.iso$|^auto detect$|^emptyBackingString$/i.test(vmx.get(`${prefix}.fileName`) ?? "");
}

function controllersOf(vmx: VmxDictionary): Controller[] {
	const list: Controller[] = [];
	for (const bus of VMX_BUSES)
		for (let number = 0; number < 4; number++) {
			const prefix = `${bus}${number}`;
			if (!vmx.flag(`${prefix}.present`)) continue;
			const model = vmx.get(`${prefix}.virtualDev`)?.toLowerCase() || null;
			// VMware's default for a SCSI controller that names no model.
			list.push({ bus, number, model: model ?? (bus === "scsi" ? "lsilogic" : null) });
		}
	return list;
}

function disksOf(vmx: VmxDictionary, notes: string[]): VmDisk[] {
	const disks: VmDisk[] = [];
	for (const { prefix, bus, controller, unit } of devicesOf(vmx)) {
		if (!isDisk(vmx, prefix)) continue;
		const independent = /^independent/i.test(vmx.get(`${prefix}.mode`) ?? "");
		if (independent) notes.push(`${prefix} is independent: a hypervisor's snapshot leaves it out`);
		disks.push({
			bus,
			controller,
			unit,
			path: vmx.get(`${prefix}.fileName`) || null,
			name: null,
			unprotected: independent ? "independent" : null,
		});
	}
	return disks;
}

function nicsOf(vmx: VmxDictionary): Nic[] {
	const nics: Nic[] = [];
	for (let i = 0; i < MAX_NICS; i++) {
		const prefix = `ethernet${i}`;
		if (!vmx.flag(`${prefix}.present`)) continue;
		const mac = (vmx.get(`${prefix}.address`) || vmx.get(`${prefix}.generatedAddress`) || "").toLowerCase();
		nics.push({
			mac: /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) ? mac : null,
			model: vmx.get(`${prefix}.virtualDev`)?.toLowerCase() || null,
			network: vmx.get(`${prefix}.networkName`) || vmx.get(`${prefix}.connectionType`) || null,
			connected: vmx.flag(`${prefix}.startConnected`, true),
		});
	}
	return nics;
}
