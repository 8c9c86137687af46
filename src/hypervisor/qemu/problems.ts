/** What a VM needs and this driver or machine cannot give. */
import { availableParallelism, totalmem } from "node:os";
import { devicesBeyondModel, type VmConfig } from "../../vm/index.js";
import type { VmDescription } from "../contract.js";
import { firmwareProblem } from "./firmware.js";
import { tpmProblem } from "./tpm.js";

const MIB = 2 ** 20;

/** VMs here are made of the neutral configuration: what a definition of libvirt's has beyond it is left out. */
export const changes = (config: VmConfig, files: VmDescription["files"]): string[] => {
	const original = config.source === "libvirt" ? files.find(({ name }) => name.endsWith(".xml")) : undefined;
	return original === undefined
		? []
		: devicesBeyondModel(original.content).map((device) => `${device} is left out: VMs of this host have none`);
};

export const problems = (config: VmConfig): string[] => {
	const found: string[] = [];
	const { memoryMiB, cpus } = config;
	const firmware = firmwareProblem(config);
	if (firmware !== undefined) found.push(firmware);
	const tpm = config.tpm ? tpmProblem() : undefined;
	if (tpm !== undefined) found.push(`it has a TPM, and ${tpm}`);
	if (memoryMiB * MIB > totalmem())
		found.push(`it has ${memoryMiB} MiB of memory, more than the ${Math.floor(totalmem() / MIB)} MiB of this machine`);
	if (cpus > availableParallelism() * 4)
		found.push(`it has ${cpus} processors, more than four for each of the ${availableParallelism()} of this machine`);
	return found;
};
