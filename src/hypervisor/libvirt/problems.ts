/** What a VM needs and the host cannot give. */
import { all, attribute, content, first, parseXml, scsiModel, type VmConfig } from "../../vm/index.js";
import type { VmDescription } from "../contract.js";
import { unreadByFirmware } from "../unread-by-firmware.js";
import type { Host } from "./domain.js";
import { fitted, processorsOf } from "./fit.js";

export const problems = async (host: Host, config: VmConfig, files: VmDescription["files"]): Promise<string[]> => {
	const { virsh } = host;
	const found: string[] = [];
	const { memoryMiB, cpus, firmware, tpm } = config;
	const info = await virsh.call(["nodeinfo"]);
	const memory = Math.floor(Number(/^Memory size:\s*(\d+) KiB/m.exec(info)?.[1] ?? Number.POSITIVE_INFINITY) / 1024);
	const processors = await processorsOf(host);
	if (memoryMiB > memory) found.push(`it has ${memoryMiB} MiB of memory, more than the ${memory} MiB of the host`);
	if (cpus > processors * 4)
		found.push(`it has ${cpus} processors, more than four for each of the ${processors} of the host`);
	const xml = await virsh.bytes(["domcapabilities", "--machine", firmware === "uefi" ? "q35" : "pc"]);
	const capabilities = parseXml(xml, "domainCapabilities", "capabilities");
	const firmwares = all(first(capabilities, "os"), "enum").find((one) => attribute(one, "name") === "firmware");
	if (firmware === "uefi" && !all(firmwares, "value").some((value) => content(value) === "efi"))
		found.push("it boots with UEFI, for which the host has no firmware (package ovmf)");
	const original = await fitted(host, config, files);
	const unread = unreadByFirmware(config, (controller) => modelOf(config, controller, original !== undefined));
	if (unread !== undefined) found.push(unread);
	if (original === undefined && firmware === "uefi" && config.disks.some(({ bus }) => bus === "ide"))
		found.push("it boots with UEFI and has IDE disks, which libvirt does not give in one machine: put them on SATA");
	if (tpm && attribute(first(first(capabilities, "devices"), "tpm"), "supported") !== "yes")
		found.push("it has a TPM, which the host cannot emulate (packages swtpm and swtpm-tools)");
	return [...found, ...(original?.refused ?? [])];
};

/** In a definition of libvirt's own a controller without a model is what libvirt takes for x86. */
const modelOf = (config: VmConfig, number: number, own: boolean): string => {
	if (!own) return scsiModel(config, number);
	const model = config.controllers.find((one) => one.bus === "scsi" && one.number === number)?.model ?? "auto";
	return model === "auto" ? "lsilogic" : model;
};
