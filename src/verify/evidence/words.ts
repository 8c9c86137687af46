/** What results and faults mean, in words: the same in HTML, text and JUnit. */
import type { Fault, RunReport, VmReport, VmResult } from "../model.js";
import { counted, span } from "./text.js";

export const RESULT: Readonly<Record<VmResult, string>> = {
	passed: "Passed",
	failed: "Failed",
	warning: "Warning",
	skipped: "Skipped",
	cancelled: "Cancelled",
};

export const FAULT: Readonly<Record<Fault, { name: string; meaning: string; advice: string }>> = {
	"damaged-data": {
		name: "Damaged data",
		meaning: "Blocks of this restore point are damaged or missing in the repository.",
		advice:
			"Run “springback check --read-data” to see all that is hit, then “springback repair”; the next backup heals what the source still has. Until then rely on another point.",
	},
	"no-boot": {
		name: "Does not boot",
		meaning: "The firmware finds nothing to boot on the disks of this restore point.",
		advice:
			"Boot sector or EFI partition are broken, or firmware and disk order are not those of the source. See whether the source would still boot, and verify an older point.",
	},
	"file-system": {
		name: "File system corrupt",
		meaning: "A file system in this restore point is corrupt.",
		advice:
			"The backup holds what the source had: check the file system there. Verify older points to find the last good one.",
	},
	hang: {
		name: "Hangs",
		meaning: "The guest began to boot and got no further.",
		advice: "The last screen and the end of the console show where. More memory or time may be all it needs.",
	},
	service: {
		name: "Service fails",
		meaning: "The guest runs, but a test of what it is for failed.",
		advice: "See the failed test and its output. The data may be whole: look at the service in a recovered copy.",
	},
	infrastructure: {
		name: "Not judged",
		meaning: "Host or lab failed. This says nothing about the restore point.",
		advice: "Mend what the message names (“springback doctor”), and verify again.",
	},
};

/** The verdict in one sentence. */
export const verdict = ({ result, vms }: RunReport): string => {
	const of = (...results: VmResult[]) => vms.filter((vm) => results.includes(vm.result)).length;
	const failed = of("failed");
	if (result === "cancelled")
		return `Cancelled: ${counted(of("passed", "warning"), "restore point")} of ${vms.length} verified`;
	if (failed > 0) return `${failed} of ${counted(vms.length, "restore point")} failed`;
	if (vms.length === 0) return "Nothing was verified";
	if (of("skipped", "cancelled") > 0)
		return `${of("passed", "warning")} of ${counted(vms.length, "restore point")} verified, the others were not tried`;
	const all =
		vms.length === 1 ? "The restore point boots and passes" : `All ${vms.length} restore points boot and pass`;
	return result === "warning" ? `${all}, with warnings` : all;
};

/** From power-on; of a VM that was not tried there is nothing to say. */
export const serviceInWords = ({ timeToServiceMs, result }: VmReport): string =>
	timeToServiceMs !== null ? span(timeToServiceMs) : result === "skipped" || result === "cancelled" ? "–" : "never";

/** Failures first, then warnings, then what was not tried; else as they were. */
export const worstFirst = (vms: readonly VmReport[]): VmReport[] => {
	const order: VmResult[] = ["failed", "warning", "cancelled", "skipped", "passed"];
	return [...vms].sort((a, b) => order.indexOf(a.result) - order.indexOf(b.result));
};

const MOMENTS: Readonly<Record<string, string>> = {
	publish: "Published",
	register: "Registered with the host",
	"power-on": "Powered on",
	"first-read": "First read from the backup",
	"boot-loader": "Boot loader reads on",
	console: "Console speaks",
	kernel: "Kernel speaks",
	agent: "Guest agent answers",
	address: "Has an address",
	stable: "Booted",
	checksum: "All blocks read",
	"power-off": "Powered off",
};

export const momentInWords = (what: string): string =>
	Object.hasOwn(MOMENTS, what) ? MOMENTS[what] : what.startsWith("test:") ? `Test: ${what.slice(5)}` : what;
