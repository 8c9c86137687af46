/**
 * The checkers of file systems, and what their words mean. The verdict is about a point taken at one moment: what a journal
 * puts right at the next mount is no damage.
 */
import type { ProgramResult } from "../program.js";
import type { FileSystem } from "./detect.js";

export interface Verdict {
	clean: boolean;
	/** what is wrong, a line each; or remarks about a clean one */
	lines: string[];
}

export interface Checker {
	/** as people call it */
	name: string;
	program: string;
	package: string;
	args: string[];
	/** of a run that ended by itself */
	judge(result: ProgramResult): Verdict;
}

const linesOf = ({ output }: ProgramResult): string[] =>
	output
		.split("\n")
		.map((line) => line.trim())
		.filter((line) => line !== "");

/** Lines that are none of `harmless`. */
const others = (result: ProgramResult, harmless: RegExp): string[] =>
	linesOf(result).filter((line) => !harmless.test(line));

const clean = (lines: string[] = []): Verdict => ({ clean: true, lines });
const broken = (result: ProgramResult, lines: string[]): Verdict => ({
	clean: false,
	lines: lines.length > 0 ? lines : [`the checker ended with exit code ${result.code}`],
});

/**
 * e2fsck(8) -fy: replays the journal, then checks all and repairs on the throw-away copy. Exit code 0: nothing was wrong; 1:
 * something was put right: the journal, the list of deleted files that were open (orphans), the superblock's own sums (the
 * kernel does not keep them while it has the file system mounted), or damage.
 */
const ext: Checker = {
	name: "ext2/3/4",
	program: "e2fsck",
	package: "e2fsprogs",
	args: ["-f", "-y"],
	judge(result) {
		const harmless =
			/^(?:e2fsck \d|Pass \d[A-E]?: |.{1,80}: (?:recovering journal|\*{5} .* \*{5}|\d+\/\d+ files )|(?:Clearing|Truncating) orphaned inode |Setting free (?:blocks|inodes) count to |Free (?:blocks|inodes) count wrong \(\d+, counted=\d+\)\.|Fix\? yes|.{1,80} was not cleanly unmounted, check forced)/;
		const lines = others(result, harmless);
		if (result.code === 0) return clean();
		return result.code === 1 && lines.length === 0 ? clean() : broken(result, lines);
	},
};

/**
 * xfs_repair(8) -n. It cannot replay a log: only the kernel can. A log that is not empty makes it complain of what a replay
 * would put right; but never of a wrong checksum, magic number or an unreadable block, since writes of blocks are whole.
 */
const xfs: Checker = {
	name: "XFS",
	program: "xfs_repair",
	package: "xfsprogs",
	args: ["-n", "-f"],
	judge(result) {
		const steps =
			/^(?:Phase \d|- |No modify flag set|would (?:not )?have|ALERT: |in a log|-n option|Maximum metadata LSN|Format log to cycle|ignored because the -n|which may be resolved|Cannot get host filesystem geometry|Repair may fail|the image and the host|scan |found root inode chunk)/i;
		if (result.code === 0) return clean();
		const lines = others(result, steps);
		if (!/ALERT: The filesystem has valuable metadata changes in a log/.test(result.output))
			return broken(result, lines);
		const damage = lines.filter((line) =>
			/bad (?:magic|CRC|uuid)|CRC error|couldn't|cannot read|read error|Input\/output|fatal|corrupt(?:ion|ed) (?:block|detected)|bad .*superblock/i.test(
				line,
			),
		);
		return damage.length > 0
			? broken(result, damage)
			: clean([`as far as can be seen without replaying its log (${lines.length} remarks)`]);
	},
};

/** btrfs-check(8) reads the last commit, which is whole at any moment. */
const btrfs: Checker = {
	name: "Btrfs",
	program: "btrfs",
	package: "btrfs-progs",
	args: ["check", "--readonly"],
	judge(result) {
		if (result.code === 0) return clean();
		const steps =
			/^(?:Opening filesystem|Checking filesystem|UUID:|\[\d\/\d\]|found \d+ bytes|total |btree space|file data|referenced )/;
		return broken(result, others(result, steps));
	},
};

/** fsck.fat(8) -n. A volume in use is marked dirty, and its count of free clusters is only a hint. */
const fat: Checker = {
	name: "FAT",
	program: "fsck.fat",
	package: "dosfstools",
	args: ["-n"],
	judge(result) {
		const harmless =
			/^(?:fsck\.fat \d|Dirty bit is set|automatically\.|Automatically removing dirty bit|There are differences between boot sector and its backup|This is mostly harmless|65:01\/00|Not automatically fixing this|Free cluster summary wrong|Using first FAT|Auto-correcting|Leaving filesystem unchanged|\*\*\* Filesystem was changed \*\*\*|Writing changes|\S+: \d+ files, )/;
		const lines = others(result, harmless);
		return result.code === 0 || (result.code === 1 && lines.length === 0) ? clean() : broken(result, lines);
	},
};

/** ntfsfix(8) -n: boot sector, master file table and its copy. Windows checks the rest itself when it has to. */
const ntfs: Checker = {
	name: "NTFS",
	program: "ntfsfix",
	package: "ntfs-3g",
	args: ["-n"],
	judge(result) {
		if (result.code === 0) return clean();
		return broken(
			result,
			others(
				result,
				/^(?:Mounting volume\.\.\. OK|Processing of|Checking|NTFS volume version|NTFS partition|FAILED$|OK$)/,
			),
		);
	},
};

export const CHECKERS: Readonly<Record<FileSystem, Checker>> = { ext, xfs, btrfs, fat, ntfs };
