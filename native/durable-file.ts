/** Small whole files over the addon's system calls (so over the fault layer). */
import { constants as C } from "node:fs";
import { dirname } from "node:path";
import { sys } from "./index.js";

/** Replaces `path` so that a crash leaves the old or the new content: new file, sync, rename, directory sync. */
export function replaceFileDurably(path: string, content: Buffer, mode = 0o600): void {
	const temporary = `${path}.new`;
	const fd = sys.open(temporary, C.O_WRONLY | C.O_CREAT | C.O_TRUNC, mode);
	try {
		sys.pwrite(fd, content, 0);
		sys.fsync(fd);
	} finally {
		sys.close(fd);
	}
	sys.rename(temporary, path);
	sys.fsyncDirectory(dirname(path));
}

/** The whole of a small file; throws ENOENT like open(2). */
export function readFileWhole(path: string): Buffer {
	const fd = sys.open(path, C.O_RDONLY);
	try {
		const content = Buffer.alloc(sys.fstat(fd).size);
		const got = sys.pread(fd, content, 0);
		return content.subarray(0, got);
	} finally {
		sys.close(fd);
	}
}
