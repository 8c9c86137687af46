/** What a VM needs and this driver or machine cannot give. */
import { availableParallelism, totalmem } from "node:os";
import type { VmConfig } from "../../vm/index.js";

const MIB = 2 ** 20;

export const problems = (config: VmConfig): string[] => {
	const found: string[] = [];
	const { memoryMiB, cpus } = config;
	if (config.firmware === "uefi") found.push("it boots with UEFI, which this driver cannot give yet");
	if (config.tpm) found.push("it has a TPM, which this driver cannot give yet");
	if (memoryMiB * MIB > totalmem())
		found.push(`it has ${memoryMiB} MiB of memory, more than the ${Math.floor(totalmem() / MIB)} MiB of this machine`);
	if (cpus > availableParallelism() * 4)
		found.push(`it has ${cpus} processors, more than four for each of the ${availableParallelism()} of this machine`);
	return found;
};
