/**
 * Real blocks for a range of a file, by fallocate or, where the file system has none, by writing zeros.
 */
import { type SystemError, sys } from "../../native/index.js";

const CHUNK = 1024 * 1024;
const ZERO_CHUNK = Buffer.alloc(CHUNK);
/** mode of fallocate(2) that makes a hole */
export const PUNCH_KEEP_SIZE = 3;

/** Throws ENOSPC when there are not enough blocks. The range must hold nothing of value where it lies beyond the end. */
export const allocate = (fd: number, offset: number, length: number): void => {
	try {
		sys.fallocate(fd, 0, offset, length);
	} catch (error) {
		if ((error as SystemError).code !== "EOPNOTSUPP") throw error;
		for (let at = 0; at < length; at += CHUNK) {
			sys.pwrite(fd, ZERO_CHUNK.subarray(0, Math.min(CHUNK, length - at)), offset + at);
		}
	}
};
