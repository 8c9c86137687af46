import t from "tap";
import { consoleFault } from "../../../src/verify/tests/console-faults.js";
import { contextOf, judge } from "./context.js";

/** Consoles as the programs print them. */
const FAILED: [string, string, RegExp][] = [
	[
		"SeaBIOS (version 1.16.2)\r\nBooting from Hard Disk...\r\nBoot failed: not a bootable disk\r\n\r\nNo bootable device.\r\n",
		"no-boot",
		/nothing to boot/,
	],
	[
		"BdsDxe: failed to load Boot0001: Not Found\r\nBdsDxe: No bootable option or device was found.\r\n",
		"no-boot",
		/nothing to boot/,
	],
	[
		"GRUB loading.\r\nWelcome to GRUB!\r\n\r\nerror: no such partition.\r\nEntering rescue mode...\r\ngrub rescue> ",
		"no-boot",
		/rescue prompt/,
	],
	["\x1b[H\x1b[J   Minimal BASH-like line editing is supported.\r\n\r\ngrub> ", "no-boot", /no configuration/],
	[
		"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n",
		"file-system",
		/no root file system/,
	],
	["[    2.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n", "hang", /kernel panic/],
	[
		"/dev/vda1: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.\r\n\t(i.e., without -a or -p options)\r\nfsck exited with status code 4\r\n(initramfs) ",
		"file-system",
		/check failed/,
	],
	[
		"[    3.0] EXT4-fs error (device vda1): ext4_lookup:1855: inode #2: comm systemd: bad extra_isize\r\n",
		"file-system",
		/corrupt/,
	],
	["[    3.0] EXT4-fs (vda1): group descriptors corrupted!\r\n", "file-system", /corrupt/],
	[
		"[    3.0] XFS (vda2): Metadata CRC error detected at xfs_agi_read_verify\r\n[    3.0] XFS (vda2): Unmount and run xfs_repair\r\n",
		"file-system",
		/corrupt/,
	],
	["[    3.0] XFS (vda2): Metadata corruption detected at xfs_buf_ioend\r\n", "file-system", /corrupt/],
	["ALERT!  UUID=6d9 does not exist.  Dropping to a shell!\r\n\r\n(initramfs) ", "hang", /root device/],
	[
		'You are in emergency mode. After logging in, type "journalctl -xb"\r\nGive root password for maintenance\r\n',
		"hang",
		/emergency mode/,
	],
];

/** Nothing of this is a failure. */
const FINE = [
	"",
	"Booting from DVD/CD...\r\nBoot failed: Could not read from CDROM (code 0003)\r\nBooting from Hard Disk...\r\nDebian login: ",
	'BdsDxe: failed to load Boot0001 "UEFI QEMU DVD-ROM"\r\nBdsDxe: starting Boot0002\r\nlogin: ',
	"[    1.0] EXT4-fs (vda1): mounted filesystem with ordered data mode. Opts: errors=remount-ro. Quota mode: none.\r\n",
	"[    1.0] EXT4-fs (vda1): VFS: Can't find ext4 filesystem\r\n[    1.1] XFS (vda1): Ending clean mount\r\n",
	"/dev/vda1: recovering journal\r\n/dev/vda1: clean, 11/128 files\r\n",
	"GRUB loading.\r\nWelcome to GRUB!\r\n\r\n  Booting `Debian GNU/Linux'\r\n",
	"[  OK  ] Reached target Multi-User System.\r\n",
];

t.test("known failures are named by what the console says; a boot that went well is none", (t) => {
	for (const [text, fault, what] of FAILED)
		t.match(consoleFault(`before\r\n${text}`), { fault, what }, text.slice(0, 50));
	for (const text of FINE) t.equal(consoleFault(text), undefined, text.slice(0, 50));
	t.end();
});

t.test("boot: a quiet console passes, one that tells a failure fails at once with its kind", async (t) => {
	let lines = 0;
	const talking = contextOf(t, { console: async () => (lines < 3 ? "line\n".repeat(++lines) : "all\nDebian login: ") });
	const passed = await judge("boot", { quietMs: 300 }, talking, { timeoutMs: 10_000 });
	t.match(passed, { result: "passed", message: 'the console is quiet after "Debian login:"' });
	const broken = contextOf(t, { console: async () => FAILED[2][0] });
	t.match(await judge("boot", {}, broken), {
		result: "failed",
		fault: "no-boot",
		message: /GRUB .*"(error|Entering|grub rescue)/,
	});
	let endless = 0;
	const restless = contextOf(t, { console: async () => `tick ${endless++}\n` });
	t.match(await judge("boot", { quietMs: 1000 }, restless, { timeoutMs: 1200 }), {
		result: "failed",
		fault: "hang",
		message: /is at "tick \d+" and does not come to rest \(within 1.2 s\)/,
	});
});

t.test("boot: what the console has to show", async (t) => {
	const up = contextOf(t, { console: async () => "guest is up\n" });
	t.match(await judge("boot", { expect: "^guest is up$" }, up), { result: "passed" });
	t.match(await judge("boot", { expect: "login:" }, up, { timeoutMs: 700 }), {
		result: "failed",
		fault: "hang",
		message: /is at "guest is up", it does not show \/login:\//,
	});
});

t.test("boot: without console output the picture counts, and a cursor that blinks does not", async (t) => {
	let looks = 0;
	const blinking = contextOf(t, { screenshot: async () => Buffer.from(`cursor ${looks++ % 2}`) });
	t.match(await judge("boot", { quietMs: 700 }, blinking, { timeoutMs: 10_000 }), {
		result: "passed",
		message: "the picture does not change any more",
	});
	const moving = contextOf(t, { screenshot: async () => Buffer.from(`picture ${looks++}`) });
	t.match(await judge("boot", { quietMs: 700 }, moving, { timeoutMs: 1500 }), { result: "failed", fault: "hang" });
});
