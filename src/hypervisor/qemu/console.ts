/** The serial console's log, which QEMU writes anew at each start. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import type { Vm } from "./vm.js";

/** A guest may say whatever it likes. */
const LAST = 2 ** 20;

export const consoleText = (vm: Vm): string => {
	let fd: number;
	try {
		fd = openSync(join(vm.places.folder, "console.log"), "r");
	} catch (error) {
		if ((error as { code?: string }).code === "ENOENT") return "";
		throw error;
	}
	try {
		const { size } = fstatSync(fd);
		const text = Buffer.alloc(Math.min(size, LAST));
		return text.toString("utf8", 0, readSync(fd, text, 0, text.length, size - text.length));
	} finally {
		closeSync(fd);
	}
};
