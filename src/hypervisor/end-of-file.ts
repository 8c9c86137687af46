/** The end of a log that a guest fills with whatever it likes. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

const LAST = 2 ** 20;

/** Its last MiB; "" when there is no such file. */
export const endOfFile = (path: string): string => {
	let fd: number;
	try {
		fd = openSync(path, "r");
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
