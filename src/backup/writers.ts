/**
 * Whether a running QEMU writes to a raw file that is about to be read. QEMU marks that with an open-file-
 * description lock on byte 101 (block/file-posix.c: permission bytes from 100 on, bit 1 is writing), which
 * /proc/locks shows. Best effort: other programs lock nothing, and some file systems hide their device number.
 */
import { readFileSync } from "node:fs";
import type { FileStat } from "../../native/index.js";

const WRITE_BYTE = 101;

/** `table`: /proc/locks, see proc_locks(5). */
export function isWrittenByQemu({ dev, ino }: Pick<FileStat, "dev" | "ino">, table = lockTable()): boolean {
	const major = (Math.floor(dev / 256) % 4096) + Math.floor(dev / 2 ** 32) * 4096;
	const minor = (dev % 256) + (Math.floor(dev / 2 ** 20) % 4096) * 256;
	const hex = (n: number) => n.toString(16).padStart(2, "0");
	const file = `${hex(major)}:${hex(minor)}:${ino}`;
	return table.split("\n").some((line) => {
		const fields = line.trim().split(/\s+/);
		if (fields[1] !== "OFDLCK" || fields[5] !== file) return false;
		return Number(fields[6]) <= WRITE_BYTE && (fields[7] === "EOF" || Number(fields[7]) >= WRITE_BYTE);
	});
}

function lockTable(): string {
	try {
		return readFileSync("/proc/locks", "utf8");
	} catch {
		return "";
	}
}
