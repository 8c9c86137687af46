/** Which of the things that can be wrong with a restore point it is. */

import { asksForLogin, kernelSpoke, troubleIn } from "./boot-signs.js";
import type { BlocksReport } from "./check-blocks.js";
import type { Fault, TestReport, TimelineEntry } from "./model.js";

export interface Evidence {
	/** what of us, the host or the lab failed; undefined: nothing */
	broken: string | undefined;
	/** undefined: it was never waited for */
	stable: { stable: boolean; message: string } | undefined;
	console: string;
	timeline: TimelineEntry[];
	tests: TestReport[];
	/** undefined: not read */
	blocks: BlocksReport | undefined;
	/** the first disk's first sector; undefined: not read */
	bootSector: Buffer | undefined;
	firmware: "bios" | "uefi";
	/** reads of the session's disks that failed */
	failedReads: number;
}

export const diagnose = (seen: Evidence): { fault: Fault; summary: string } | undefined => {
	const { blocks, tests, stable } = seen;
	const failed = tests.filter(({ result }) => result === "failed");
	if (blocks !== undefined && blocks.damaged.length > 0)
		return {
			fault: "damaged-data",
			summary: `${blocks.damaged.length} damaged blocks in the restore point: ${blocks.damaged[0]}`,
		};
	if (seen.broken !== undefined) return { fault: "infrastructure", summary: seen.broken };
	const wrong = failed.length > 0 || stable?.stable === false;
	if (!wrong) return undefined;
	for (const fault of TOLD_BY_TESTS) {
		const found = failed.find((test) => test.fault === fault);
		if (found !== undefined) return { fault, summary: `${found.name}: ${found.message}` };
	}
	const trouble = troubleIn(seen.console);
	if (trouble !== undefined) return { fault: trouble.fault, summary: trouble.message };
	if (seen.failedReads > 0)
		return {
			fault: "damaged-data",
			summary: `${seen.failedReads} reads of its disks failed: see the mount process's log`,
		};
	if (!showsLife(seen)) return withoutLife(seen);
	const ours = failed.find(({ fault }) => fault === "infrastructure");
	if (ours !== undefined) return { fault: "infrastructure", summary: `${ours.name}: ${ours.message}` };
	if (failed.length > 0) {
		const more = failed.length > 1 ? ` (and ${failed.length - 1} more)` : "";
		return { fault: "service", summary: `${failed[0].name}: ${failed[0].message}${more}` };
	}
	return { fault: "hang", summary: stable!.message };
};

/** Something inside the guest has answered, or asks. */
const showsLife = ({ timeline, tests, console, stable }: Evidence): boolean =>
	timeline.some(({ what }) => what === "agent" || what === "address") ||
	tests.some(({ kind, result }) => result === "passed" && !OUTSIDE.has(kind)) ||
	asksForLogin(console) ||
	(stable?.stable === true && /console said/.test(stable.message));

/** What a test may know by itself; that a guest hangs, or a service does not answer, may have another cause. */
const TOLD_BY_TESTS = ["damaged-data", "file-system", "no-boot"] as const;

/** Tests that pass without a guest. */
const OUTSIDE = new Set(["checksum", "filesystem", "boot", "command"]);

const withoutLife = ({
	bootSector,
	firmware,
	console,
	timeline,
	stable,
}: Evidence): { fault: Fault; summary: string } => {
	const signed = bootSector === undefined || bootSector.readUInt16LE(510) === 0xaa55;
	if (firmware === "bios" && !signed)
		return {
			fault: "no-boot",
			summary: "the first sector of its first disk is no boot sector: the firmware finds nothing to boot",
		};
	const loaded = timeline.some(({ what }) => what === "boot-loader");
	if (!kernelSpoke(console) && !loaded)
		return {
			fault: "no-boot",
			summary: "nothing beyond the first sector of its disks was read: it did not begin to boot",
		};
	const last = console.trimEnd().split("\n").at(-1)?.trim().slice(0, 120);
	return {
		fault: "hang",
		summary: `it began to boot and shows no sign of life (${stable?.message ?? "it was not waited for"})${last ? `; its console ends with "${last}"` : ""}`,
	};
};
