/**
 * The files that make up one source disk. Each is opened once, here; headers are parsed and QEMU reads from that
 * same descriptor, so nothing can be swapped between the check and the use. Names found inside an image may only
 * lead to files in the folder of the source.
 */
import { constants, readlinkSync, realpathSync } from "node:fs";
import { dirname, isAbsolute, join, sep } from "node:path";
import { sys } from "../../native/index.js";
import { reason, SourceError } from "./errors.js";

export interface SourceFile {
	/** real path, for messages */
	path: string;
	fd: number;
	/** bytes */
	size: number;
}

export class SourceFiles {
	/** real path of the source's folder */
	readonly folder: string;
	readonly top: SourceFile;
	private readonly open = new Set<SourceFile>();

	/** Throws SourceError when the file cannot be opened or is not a regular file. */
	constructor(given: string) {
		let path: string;
		try {
			path = realpathSync(given);
		} catch (error) {
			throw new SourceError("SOURCE", `${given}: ${reason(error)}`, { cause: error });
		}
		this.folder = dirname(path);
		this.top = this.openAt(path);
	}

	/** Opens the file that `from` names, after refusing everything that does not stay in the folder. */
	beside(from: SourceFile, name: string, what: string): SourceFile {
		const refuse = (why: string): never => {
			throw new SourceError("SOURCE", `${from.path}: its ${what} "${name.slice(0, 200)}" ${why}`);
		};
		// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not get in
		if (name === "" || /[\x00-\x1f\x7f]/.test(name)) refuse("is not a file name");
		// What QEMU takes for a protocol or a set of options: a colon before the first slash.
		if (/^[^/]*:/.test(name)) refuse("is not a plain file; only files in the same folder are read");
		let path = "";
		try {
			path = realpathSync(isAbsolute(name) ? name : join(dirname(from.path), name));
		} catch (error) {
			refuse(`cannot be opened: ${reason(error)}`);
		}
		const inside = (real: string) => real.startsWith(this.folder === sep ? sep : this.folder + sep);
		if (!inside(path)) refuse(`lies outside of ${this.folder}; put all files of the disk in one folder`);
		const file = this.openAt(path);
		// The path may have been changed meanwhile: what counts is what was opened.
		if (!inside(readlinkSync(`/proc/self/fd/${file.fd}`))) {
			this.closeOne(file);
			refuse(`lies outside of ${this.folder}; put all files of the disk in one folder`);
		}
		return file;
	}

	/** Reads up to `length` bytes at `offset`; fewer at the end of the file. */
	read(file: SourceFile, offset: number, length: number): Buffer {
		const bytes = Buffer.alloc(Math.max(0, Math.min(length, file.size - offset)));
		try {
			return bytes.subarray(0, sys.pread(file.fd, bytes, offset));
		} catch (error) {
			throw new SourceError("SOURCE", `${file.path}: cannot read its header: ${reason(error)}`, { cause: error });
		}
	}

	/** The caller now owns the descriptor. */
	release(file: SourceFile): SourceFile {
		this.open.delete(file);
		return file;
	}

	/** Closes what was not released. */
	close(): void {
		for (const file of this.open) this.closeOne(file);
	}

	private closeOne(file: SourceFile): void {
		this.open.delete(file);
		sys.close(file.fd);
	}

	private openAt(path: string): SourceFile {
		let fd: number;
		try {
			// O_NONBLOCK: a FIFO must fail the check below, not hang here.
			fd = sys.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
		} catch (error) {
			throw new SourceError("SOURCE", `${path}: ${reason(error)}`, { cause: error });
		}
		const { mode, size } = sys.fstat(fd);
		if ((mode & constants.S_IFMT) !== constants.S_IFREG) {
			sys.close(fd);
			throw new SourceError("SOURCE", `${path}: not a regular file`);
		}
		const file = { path, fd, size };
		this.open.add(file);
		return file;
	}
}
