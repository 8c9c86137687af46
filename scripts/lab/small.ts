/** Copies of the small guest's disk, with other content where a test wants it. */
import { spawnSync } from "node:child_process";
import {
	closeSync,
	copyFileSync,
	constants as fs,
	mkdtempSync,
	openSync,
	rmSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { smallImage } from "./guests.js";

const MIB = 2 ** 20;
/** Where its ext4 root begins, as scripts/guests/small lays it out. */
const ROOT = 21 * MIB;

/** shell scripts of its root: at boot, before it has an address; and the service. Default: nothing; a web server on port 80 */
export interface SmallContent {
	boot?: string;
	service?: string;
}

export function smallDisk(target: string, content: SmallContent = {}): void {
	copyFileSync(smallImage(), target, fs.COPYFILE_FICLONE);
	const folder = mkdtempSync(join(tmpdir(), "springback-small-"));
	try {
		for (const [name, text] of Object.entries(content)) {
			const file = join(folder, name);
			writeFileSync(file, `${text}\n`);
			debugfs(target, `rm /etc/${name}`);
			debugfs(target, `write ${file} /etc/${name}`);
		}
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** Its first sector is no boot sector any more. */
export function breakBootSector(disk: string): void {
	overwrite(disk, 0, Buffer.alloc(446, 0xf4));
	overwrite(disk, 510, Buffer.alloc(2));
}

/** The tables of its root file system, superblock and all, have become noise. */
export function breakRoot(disk: string): void {
	overwrite(disk, ROOT + 4096, Buffer.alloc(MIB, "noise "));
}

function overwrite(disk: string, at: number, bytes: Buffer): void {
	const fd = openSync(disk, "r+");
	try {
		writeSync(fd, bytes, 0, bytes.length, at);
	} finally {
		closeSync(fd);
	}
}

/** Changes the ext4 file system within the image, without mounting it. */
function debugfs(disk: string, command: string): void {
	const run = spawnSync("debugfs", ["-w", "-R", command, `${disk}?offset=${ROOT}`], { encoding: "utf8" });
	if (run.error) throw run.error;
	// It ends with 0 whatever happened; its first line on stderr is its version.
	const said = run.stderr.split("\n").slice(1).join(" ").trim();
	if (run.status !== 0 || said !== "") throw new Error(`debugfs ${command}: ${said}`);
}

/** A libvirt domain of it, with a card on network "lan". @param number makes its identity and MAC unique */
export const smallDomain = (name: string, number: number): string => {
	const hex = number.toString(16).padStart(2, "0");
	return `<domain type='kvm'>
	<name>${name}</name><uuid>5b5b5b5b-0000-4000-8000-0000000000${hex}</uuid><memory unit='MiB'>128</memory><vcpu>1</vcpu>
	<os><type arch='x86_64' machine='q35'>hvm</type></os>
	<devices>
		<disk type='file'><source file='/x/${name}'/><target dev='vda' bus='virtio'/></disk>
		<interface type='network'><mac address='52:54:00:5b:5b:${hex}'/><source network='lan'/><model type='virtio'/></interface>
		<serial type='pty'/>
	</devices>
</domain>`;
};
