/**
 * A cpio archive in the `newc` form that the Linux kernel unpacks as an initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */

export interface CpioFile {
	/** path without a leading slash; its directory must exist in an earlier archive */
	name: string;
	content: Uint8Array | string;
	/** permission bits, default 0o644 */
	mode?: number;
}

export function cpio(files: CpioFile[]): Buffer {
	const parts = files.map((file, index) => entry(index + 1, file.name, 0o100000 | (file.mode ?? 0o644), file.content));
	return Buffer.concat([...parts, entry(0, "TRAILER!!!", 0, "")]);
}

function entry(inode: number, name: string, mode: number, content: Uint8Array | string): Buffer {
	const data = Buffer.from(content as Uint8Array);
	const nameSize = Buffer.byteLength(name) + 1;
	// ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
	const fields = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, nameSize, 0];
	const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
	return Buffer.concat([padded(Buffer.from(header)), padded(data)]);
}

function padded(data: Buffer): Buffer {
	return Buffer.concat([data, Buffer.alloc(-data.length & 3)]);
}
