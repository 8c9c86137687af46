/** What real firmware and a real kernel print when a boot fails, and the test "boot" looking on. */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { acceleration } from "../../../scripts/lab/acceleration.js";
import { cpio } from "../../../scripts/lab/cpio.js";
import { tinyGuest } from "../../../scripts/lab/guests.js";
import type { TestReport } from "../../../src/verify/model.js";
import { contextOf, judge } from "./context.js";
import { debugfs, ext4, MIB, overwrite } from "./volumes.js";

const INIT = `#!/bin/busybox sh
busybox mkdir -p /proc /sys /dev /mnt
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox --install -s
while read -r module; do insmod "$module" 2>/dev/null; done </modules.order
`;

/** The test's verdict on a guest with these arguments of QEMU; its console is a file. */
const booted = async (t: Test, args: string[], options: Record<string, unknown> = {}): Promise<TestReport> => {
	const context = contextOf(t);
	const file = join(context.directory, "console");
	writeFileSync(file, "");
	const machine = ["-accel", await acceleration(), "-m", "256", "-nodefaults", "-display", "none", "-no-reboot"];
	const child = spawn("qemu-system-x86_64", [...machine, "-serial", `file:${file}`, ...args], { stdio: "ignore" });
	const ended = new Promise((resolve) => child.once("close", resolve));
	context.console = async () => readFileSync(file, "latin1");
	// Until the console says something: a picture in which something happens.
	let looks = 0;
	context.screenshot = async () => Buffer.from(`${looks++}`);
	try {
		return await judge("boot", options, context, { timeoutMs: 60_000 });
	} finally {
		child.kill("SIGKILL");
		await ended;
	}
};

/** Linux, with the tiny guest's modules and this after its set-up. */
const linux = (t: Test, script: string): string[] => {
	const { kernel, initrd } = tinyGuest();
	const file = join(t.testdirName, "initrd");
	writeFileSync(
		file,
		Buffer.concat([readFileSync(initrd), cpio([{ name: "init", content: INIT + script, mode: 0o755 }])]),
	);
	return ["-kernel", kernel, "-initrd", file, "-append", "console=ttyS0 panic=0 mitigations=off"];
};

t.test("firmware that finds nothing to boot", async (t) => {
	const folder = t.testdir({ disk: Buffer.alloc(MIB) });
	// SeaBIOS shows its text on this port, too (docs/Serial_console of SeaBIOS).
	const port = Buffer.alloc(8);
	port.writeUInt32LE(0x3f8);
	writeFileSync(join(folder, "port"), port);
	const disk = ["-device", "VGA", "-drive", `file=${folder}/disk,format=raw,if=virtio,snapshot=on`];
	const report = await booted(t, [...disk, "-fw_cfg", `name=etc/sercon-port,file=${folder}/port`]);
	t.match(report, { result: "failed", fault: "no-boot", message: 'nothing to boot from: "No bootable device."' });
});

t.test("a kernel without its root file system, and one whose first process dies", async (t) => {
	t.testdir();
	const { kernel } = tinyGuest();
	const rootless = await booted(t, ["-kernel", kernel, "-append", "console=ttyS0 root=/dev/vda1 panic=0"]);
	t.match(rootless, { result: "failed", fault: "file-system", message: /no root file system: .*VFS: / });
	t.match(await booted(t, linux(t, "exit 1\n")), {
		result: "failed",
		fault: "hang",
		message: /^kernel panic: .*Attempted to kill init/,
	});
});

t.test("a corrupt file system; and a guest that is well", async (t) => {
	const path = ext4(t);
	const disk = ["-drive", `file=${path},format=raw,if=virtio,snapshot=on`];
	const script = `while read -r module; do insmod "$module" 2>/dev/null; done </lib/ext4.order
mount -t ext4 /dev/vda /mnt
ls /mnt/d3 >/dev/null
echo guest is up
exec sleep 1000
`;
	t.match(await booted(t, [...linux(t, script), ...disk], { quietMs: 2000 }), {
		result: "passed",
		message: /quiet after "guest is up"/,
	});
	const block = Number(/^\d+$/m.exec(debugfs(path, ["bmap d3 0"]))![0]);
	overwrite(path, block * 4096, Buffer.alloc(4096, 0xff));
	const report = await booted(t, [...linux(t, script), ...disk], { expect: "^guest is up" });
	t.match(report, {
		result: "failed",
		fault: "file-system",
		message: /corrupt file system: .*EXT4-fs error \(device vda\)/,
	});
});
