/**
 * UEFI firmware of this machine: what QEMU's descriptors name (docs/interop/firmware.json of QEMU), then the places
 * where distributions put it without one. A firmware goes with NVRAM of the size of its template only.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { VmConfig } from "../../vm/index.js";
import { HypervisorError } from "../errors.js";
import { unreadByFirmware } from "../unread-by-firmware.js";
import { scsiDriver } from "./devices.js";

export interface Firmware {
	/** absolute paths; both raw */
	code: string;
	template: string;
	/** has Secure Boot; then it needs SMM, so that the guest's kernel cannot write its variables */
	secure: boolean;
	/** bytes of its NVRAM */
	size: number;
}

/** As QEMU and libvirt look for them: the first folder wins for a name, names are tried in order. */
const DESCRIPTORS = ["/etc/qemu/firmware", "/usr/share/qemu/firmware"];

/** code, template, secure; Debian and Ubuntu, Fedora, Arch. Also those of 128 KiB, which older VMs have. */
const KNOWN: [string, string, boolean][] = [
	["/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd", true],
	["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd", false],
	["/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd", true],
	["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd", false],
	["/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd", true],
	["/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd", false],
	["/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd", false],
];

interface FlashFile {
	filename?: string;
	format?: string;
}

interface Descriptor {
	"interface-types"?: string[];
	mapping?: { device?: string; mode?: string; executable?: FlashFile; "nvram-template"?: FlashFile };
	targets?: { architecture?: string; machines?: string[] }[];
	features?: string[];
}

/** All of this machine, the best first: for Secure Boot those whose template has keys. */
export const findFirmware = (folders = DESCRIPTORS, known = KNOWN): Firmware[] => {
	const keyed: Firmware[] = [];
	const others: Firmware[] = [];
	for (const path of descriptorsIn(folders)) {
		const { "interface-types": types = [], mapping, targets = [], features = [] } = readDescriptor(path);
		const { executable: code, "nvram-template": template } = mapping ?? {};
		const flash = mapping?.device === "flash" && (mapping.mode ?? "split") === "split";
		const ours = targets.some(
			({ architecture, machines }) => architecture === "x86_64" && machines?.some((name) => name.startsWith("pc-q35")),
		);
		if (!types.includes("uefi") || !flash || !ours || code?.format !== "raw" || template?.format !== "raw") continue;
		const secure = features.includes("secure-boot") && features.includes("requires-smm");
		const to = features.includes("enrolled-keys") ? keyed : others;
		to.push(...present(code.filename!, template.filename!, secure));
	}
	return [...keyed, ...others, ...known.flatMap((paths) => present(...paths))];
};

const descriptorsIn = (folders: string[]): string[] => {
	const found = new Map<string, string>();
	for (const folder of folders)
		for (const name of existsSync(folder) ? readdirSync(folder) : [])
			if (name.endsWith(".json") && !found.has(name)) found.set(name, join(folder, name));
	return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
};

/** An empty file masks one of the same name; one that cannot be read is as good as none. */
const readDescriptor = (path: string): Descriptor => {
	try {
		return JSON.parse(readFileSync(path, "utf8")) as Descriptor;
	} catch {
		return {};
	}
};

const present = (code: string, template: string, secure: boolean): Firmware[] => {
	const size = statSync(template, { throwIfNoEntry: false })?.size;
	return size === undefined || !existsSync(code) ? [] : [{ code, template, secure, size }];
};

const PACKAGE = "apt install ovmf";

/** Why this machine cannot give such firmware; undefined when it can, or none is wanted. */
export const firmwareProblem = (config: VmConfig, found = findFirmware()): string | undefined => {
	if (config.firmware !== "uefi") return undefined;
	if (config.secureBoot && config.disks.some(({ bus }) => bus === "ide"))
		return "it boots with Secure Boot and has IDE disks, which QEMU does not give in one machine: put them on SATA";
	const unread = unreadByFirmware(config, (controller) => scsiDriver(config, controller));
	if (unread !== undefined) return unread;
	if (found.some(({ secure }) => secure === config.secureBoot)) return undefined;
	return `it boots with UEFI${config.secureBoot ? " and Secure Boot" : ""}, and there is no such firmware here: ${PACKAGE}`;
};

/** `size`: of the NVRAM that there is. Undefined when none goes with that. Throws UNSUPPORTED when there is none at all. */
export const chooseFirmware = (name: string, config: VmConfig, size?: number): Firmware | undefined => {
	const found = findFirmware();
	const problem = firmwareProblem(config, found);
	if (problem !== undefined) throw new HypervisorError("UNSUPPORTED", `VM ${name}: ${problem}`);
	return found.find((one) => one.secure === config.secureBoot && (size === undefined || one.size === size));
};
