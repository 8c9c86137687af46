/**
 * A raw disk file (or block device) as an Image. Reads go through a native lane of its own, never libuv's pool,
 * so one hung disk stalls nobody else. Holes are found with SEEK_DATA / SEEK_HOLE (lseek(2)) and never read.
 */
import { constants, readFileSync, statSync } from "node:fs";
import { createLane, type Lane, type SystemError, sys } from "../../native/index.js";
import { type Extent, ImageError, type WritableImage } from "./image.js";
import { checkRange, pushExtent } from "./range.js";

export interface RawOptions {
	/** open for writing too */
	writable?: boolean;
	/** threads of the image's own lane; default 4 */
	threads?: number;
	/** share this lane instead of making one; it is then not closed with the image */
	lane?: Lane;
	/** use this descriptor instead of opening `path`; it is closed with the image */
	fd?: number;
}

/**
 * Opens `path`. Throws SystemError when it cannot be opened, ImageError EIO when it is neither a regular file
 * nor a block device. The size is the file's at this moment; a file that shrinks later fails the read.
 */
export function openRaw(path: string, options: RawOptions = {}): RawImage {
	// O_NONBLOCK: a FIFO must fail the check below, not hang here.
	const mode = (options.writable ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NONBLOCK;
	const fd = options.fd ?? sys.open(path, mode);
	try {
		return new RawImage(path, fd, sizeOf(path, fd), options);
	} catch (error) {
		sys.close(fd);
		throw error;
	}
}

function sizeOf(path: string, fd: number): number {
	const { mode, size } = sys.fstat(fd);
	const type = mode & constants.S_IFMT;
	if (type === constants.S_IFREG) return size;
	if (type !== constants.S_IFBLK) throw new ImageError("EIO", `${path}: not a regular file or a block device`, 0, 0);
	const { rdev } = statSync(`/proc/self/fd/${fd}`);
	const major = ((rdev >>> 8) & 0xfff) | (Math.floor(rdev / 2 ** 32) & ~0xfff);
	const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
	// In 512-byte sectors whatever the device's block size (Linux Documentation/ABI/stable/sysfs-block).
	return Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, "ascii")) * 512;
}

export class RawImage implements WritableImage {
	private readonly lane: Lane;
	private readonly ownLane: boolean;
	private closed: Promise<void> | undefined;
	private jobs = 0;
	private idle: (() => void) | undefined;

	/** Use `openRaw`. Owns `fd`. */
	constructor(
		readonly path: string,
		readonly fd: number,
		readonly size: number,
		options: RawOptions,
	) {
		this.ownLane = options.lane === undefined;
		this.lane = options.lane ?? createLane("image", options.threads ?? 4);
	}

	async read(offset: number, target: Buffer): Promise<void> {
		checkRange(this.size, offset, target.length);
		let count: number;
		try {
			count = await this.run(() => this.lane.pread(this.fd, target, offset), offset, target.length);
		} catch (error) {
			throw this.failure("read", error, offset, target.length);
		}
		if (count !== target.length)
			throw new ImageError(
				"EIO",
				`${this.path}: shrank below ${this.size} bytes: only ${count} of ${target.length} bytes at offset ${offset}`,
				offset,
				target.length,
			);
	}

	extents(offset: number, length: number): Extent[] {
		checkRange(this.size, offset, length);
		if (this.closed) throw this.closedError(offset, length);
		const list: Extent[] = [];
		const end = offset + length;
		try {
			for (let at = offset; at < end; ) {
				const data = sys.seekData(this.fd, at);
				const dataStart = data < 0 ? end : Math.min(data, end);
				pushExtent(list, at, dataStart - at, "unallocated");
				if (dataStart === end) break;
				const hole = sys.seekHole(this.fd, dataStart);
				// -1: the file shrank while we looked; the read will say so.
				const dataEnd = hole < 0 ? end : Math.min(hole, end);
				pushExtent(list, dataStart, dataEnd - dataStart, "data");
				at = dataEnd;
			}
		} catch (error) {
			// Block devices and some file systems do not know holes: everything is data.
			if ((error as SystemError).code === "EINVAL") return length === 0 ? [] : [{ offset, length, kind: "data" }];
			throw this.failure("find holes of", error, offset, length);
		}
		return list;
	}

	async write(offset: number, data: Buffer): Promise<void> {
		checkRange(this.size, offset, data.length);
		try {
			await this.run(() => this.lane.write(this.fd, [data], offset, false), offset, data.length);
		} catch (error) {
			throw this.failure("write", error, offset, data.length);
		}
	}

	async flush(): Promise<void> {
		try {
			await this.run(() => this.lane.fdatasync(this.fd), 0, 0);
		} catch (error) {
			throw this.failure("sync", error, 0, 0);
		}
	}

	/** Waits for the jobs in flight. */
	close(): Promise<void> {
		this.closed ??= (async () => {
			if (this.jobs > 0)
				await new Promise<void>((resolve) => {
					this.idle = resolve;
				});
			if (this.ownLane) await this.lane.close();
			sys.close(this.fd);
		})();
		return this.closed;
	}

	private async run<T>(job: () => Promise<T>, offset: number, length: number): Promise<T> {
		if (this.closed) throw this.closedError(offset, length);
		this.jobs++;
		try {
			return await job();
		} finally {
			if (--this.jobs === 0) this.idle?.();
		}
	}

	private closedError(offset: number, length: number): ImageError {
		return new ImageError("ECLOSED", `${this.path}: the image is closed`, offset, length);
	}

	private failure(what: string, cause: unknown, offset: number, length: number): ImageError {
		if (cause instanceof ImageError) return cause;
		const reason = (cause as SystemError).code ?? String(cause);
		const code = reason === "ENOSPC" || reason === "EDQUOT" ? "ENOSPC" : "EIO";
		const where = length > 0 ? ` ${length} bytes at offset ${offset}` : "";
		return new ImageError(code, `${this.path}: cannot ${what}${where}: ${reason}`, offset, length, { cause });
	}
}
