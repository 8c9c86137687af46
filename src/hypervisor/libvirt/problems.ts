/** What a VM needs and the host cannot give. */
import { all, attribute, content, first, parseXml, type VmConfig } from "../../vm/index.js";
import type { Host } from "./domain.js";

export const problems = async ({ virsh }: Host, config: VmConfig): Promise<string[]> => {
	const found: string[] = [];
	const { memoryMiB, cpus, firmware, tpm } = config;
	const info = await virsh.call(["nodeinfo"]);
	const memory = Math.floor(Number(/^Memory size:\s*(\d+) KiB/m.exec(info)?.[1] ?? Number.POSITIVE_INFINITY) / 1024);
	const processors = Number(/^CPU\(s\):\s*(\d+)/m.exec(info)?.[1] ?? Number.POSITIVE_INFINITY);
	if (memoryMiB > memory) found.push(`it has ${memoryMiB} MiB of memory, more than the ${memory} MiB of the host`);
	if (cpus > processors * 4)
		found.push(`it has ${cpus} processors, more than four for each of the ${processors} of the host`);
	const xml = await virsh.bytes(["domcapabilities", "--machine", firmware === "uefi" ? "q35" : "pc"]);
	const capabilities = parseXml(xml, "domainCapabilities", "capabilities");
	const firmwares = all(first(capabilities, "os"), "enum").find((one) => attribute(one, "name") === "firmware");
	if (firmware === "uefi" && !all(firmwares, "value").some((value) => content(value) === "efi"))
		found.push("it boots with UEFI, for which the host has no firmware (package ovmf)");
	if (tpm && attribute(first(first(capabilities, "devices"), "tpm"), "supported") !== "yes")
		found.push("it has a TPM, which the host cannot emulate (packages swtpm and swtpm-tools)");
	return found;
};
