/** What a serial console says when a boot has failed. */
import type { Fault } from "../model.js";
import { oneLine, plain } from "./text.js";

export interface ConsoleFault {
	fault: Fault;
	/** what it is: "kernel panic" */
	what: string;
	/** the line that says so */
	line: string;
}

interface Sign {
	fault: Fault;
	what: string;
	pattern: RegExp;
}

/** The first that is found counts: causes stand before what follows from them. Patterns are of one line. */
const SIGNS: readonly Sign[] = [
	// fsck(8), e2fsck(8)
	{ fault: "file-system", what: "a file system check failed", pattern: /UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY/i },
	{
		fault: "file-system",
		what: "a file system check failed",
		pattern: /fsck.*exited with status code (?:[4-9]|[1-9]\d)|fsck.* failed with exit status/i,
	},
	// Linux: fs/ext4/super.c, fs/xfs/xfs_message.c, fs/btrfs/messages.c, fs/fat/misc.c
	{
		fault: "file-system",
		what: "the kernel found a corrupt file system",
		pattern:
			/EXT[234]-fs (?:error|\([^)]*\): (?:error|.*(?:corrupt|can't read|bad (?:geometry|magic)|unable to read superblock)))/i,
	},
	{
		fault: "file-system",
		what: "the kernel found a corrupt file system",
		pattern:
			/XFS \([^)]*\): (?:.*corruption|.*Unmount and run xfs_repair|log mount\/recovery failed|SB validate failed|Superblock has )/i,
	},
	{
		fault: "file-system",
		what: "the kernel found a corrupt file system",
		pattern:
			/BTRFS (?:error|critical) \(device|FAT-fs \([^)]*\): error|NTFS-fs error|ntfs3: [^:]+: .*(?:corrupt|failed to load)/i,
	},
	{
		fault: "file-system",
		what: "the kernel finds no root file system",
		pattern: /VFS: (?:Unable to mount root fs|Cannot open root device)|No filesystem could mount root/i,
	},
	{
		fault: "file-system",
		what: "the root file system cannot be mounted",
		pattern:
			/mount: (?:mounting .* on \/\S* failed|.*\/(?:root|sysroot).*: (?:wrong fs type|can't read superblock|Structure needs cleaning))|Failed to mount (?:\/sysroot|sysroot\.mount|\/root\b)/i,
	},
	// firmware: SeaBIOS, OVMF, and boot sectors
	{
		fault: "no-boot",
		what: "nothing to boot from",
		pattern:
			/No bootable (?:device|option or device)|Operating system not found|Missing operating system|Non-system disk|Invalid (?:partition table|system disk)|No boot(?:able)? (?:device|disk|medium)|FATAL: (?:No bootable medium|INT18)/i,
	},
	{
		fault: "no-boot",
		what: "UEFI found nothing to boot and opened its shell",
		pattern: /^(?:UEFI Interactive Shell v|Shell> ?$)/i,
	},
	// boot loaders
	{
		fault: "no-boot",
		what: "GRUB finds its files no more (rescue prompt)",
		pattern: /^grub rescue>|Entering rescue mode\.\.\./i,
	},
	{
		fault: "no-boot",
		what: "GRUB has no configuration (command prompt)",
		pattern: /^\s*grub>|Minimal BASH-like line editing is supported/i,
	},
	{
		fault: "no-boot",
		what: "the boot loader finds no kernel",
		pattern:
			/^error: (?:file|disk|no such device|no such partition|unknown filesystem|you need to load the kernel first)|Could not find kernel image|SYSLINUX.*(?:Boot error|failed to load)|(?:BOOTMGR|NTLDR) is missing/i,
	},
	// initramfs: initramfs-tools, dracut, systemd
	{
		fault: "hang",
		what: "the initramfs does not find the root device",
		pattern:
			/ALERT! .* does not exist|Gave up waiting for (?:root|suspend)|dracut-initqueue.*timeout|Warning: .*\/dev\/\S+ does not exist/i,
	},
	{
		fault: "hang",
		what: "the guest is in emergency mode",
		pattern:
			/You are in (?:emergency|rescue) mode|Welcome to emergency mode|Entering emergency mode|Give root password for maintenance|Reached target (?:\S* - )?Emergency Mode/i,
	},
	{ fault: "hang", what: "the guest is at the initramfs prompt", pattern: /^\(initramfs\)|^dracut:\/#/i },
	{ fault: "hang", what: "kernel panic", pattern: /Kernel panic - not syncing/i },
	{
		fault: "hang",
		what: "the kernel broke down",
		pattern: /^(?:\[[^\]]*\]\s*)?(?:BUG: unable to handle|Oops: |general protection fault|watchdog: BUG: soft lockup)/i,
	},
];

/** Characters of a console that are searched: its end. */
const SEARCHED = 1024 * 1024;

/** What failed in a boot, by what its console said; undefined: nothing that is known. */
export const consoleFault = (console: string): ConsoleFault | undefined => {
	const lines = plain(console.slice(-SEARCHED)).split("\n");
	for (const { fault, what, pattern } of SIGNS)
		for (const line of lines) {
			// No message of firmware, boot loader or kernel is longer; and a search may take the square of a line's length.
			const text = line.slice(0, 300).trimStart();
			if (pattern.test(text)) return { fault, what, line: oneLine(text) };
		}
	return undefined;
};
