/** What a guest's serial console says about its boot. It comes from the guest: only what is looked for counts. */
import type { Fault } from "./model.js";

export interface Trouble {
	fault: Fault;
	/** one line */
	message: string;
	/** the guest will not get any further by itself */
	final: boolean;
}

const TROUBLES: readonly { sign: RegExp; fault: Fault; words: string; final: boolean }[] = [
	{
		sign: /no bootable device|no bootable medium|boot failed: not a bootable disk/i,
		fault: "no-boot",
		words: "the firmware finds nothing to boot",
		final: true,
	},
	{
		sign: /grub rescue>|error: unknown filesystem|missing operating system|operating system not found/i,
		fault: "no-boot",
		words: "the boot loader finds no system",
		final: true,
	},
	{
		sign: /unable to mount root fs|cannot open root device|mounting .* on \/root failed|gave up waiting for root/i,
		fault: "file-system",
		words: "the root file system cannot be mounted",
		final: true,
	},
	{
		sign: /unexpected inconsistency; run fsck manually|fsck failed with exit|file system check .* failed|status code 4\b/i,
		fault: "file-system",
		words: "the file system check at boot failed",
		final: true,
	},
	{
		sign: /EXT4-fs error|XFS .*corruption|BTRFS.*(corrupt|checksum error)|bad superblock/i,
		fault: "file-system",
		words: "the kernel reports a corrupt file system",
		final: false,
	},
	{
		sign: /you are in emergency mode|entering emergency mode/i,
		fault: "file-system",
		words: "the guest is in emergency mode",
		final: true,
	},
	{
		sign: /I\/O error, dev |blk_update_request: I\/O error/i,
		fault: "damaged-data",
		words: "the guest gets I/O errors from its disk",
		final: false,
	},
	{ sign: /kernel panic/i, fault: "hang", words: "the kernel panicked", final: true },
];

/** The first trouble that the console tells of, with the line; undefined: none. */
export const troubleIn = (console: string): Trouble | undefined => {
	for (const { sign, fault, words, final } of TROUBLES) {
		const found = sign.exec(console);
		if (found === null) continue;
		const from = console.lastIndexOf("\n", found.index) + 1;
		const end = console.indexOf("\n", found.index);
		const line = printable(console.slice(from, end < 0 ? undefined : end)).slice(0, 160);
		return { fault, message: `${words}: "${line}"`, final };
	}
	return undefined;
};

/** Without control characters and escape sequences. */
export const printable = (text: string): string =>
	// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
	text.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>]|[\x00-\x08\x0b-\x1f\x7f]/g, "").trim();

/** A kernel, or what comes after it, has spoken. */
export const kernelSpoke = (console: string): boolean =>
	/Linux version|Booting Linux|Decompressing Linux|\[ {4}0\.0|Welcome to|systemd\[1\]|login:/.test(console);

/** Somebody could log in. */
export const asksForLogin = (console: string): boolean => /(^|\s)login: *$/m.test(printable(console.slice(-4096)));
