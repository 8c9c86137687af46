/** The Image of a disk that QEMU reads for us: ends QEMU with itself, and notices what QEMU does not report. */
import type { ChildProcess } from "node:child_process";
import { sys } from "../../native/index.js";
import { type Extent, type Image, ImageError } from "../image/index.js";
import type { NbdImage } from "../nbd/index.js";
import type { SourceFile } from "./source-files.js";

export class QemuImage implements Image {
	readonly size: number;
	private closed: Promise<void> | undefined;

	/** Owns all of them. */
	constructor(
		private readonly inner: NbdImage,
		private readonly child: ChildProcess,
		private readonly files: SourceFile[],
	) {
		this.size = inner.size;
	}

	async read(offset: number, target: Buffer): Promise<void> {
		await this.inner.read(offset, target);
		// QEMU reads zeros past the end of a file. Looked at after the read, so that nothing shrank before it.
		for (const { path, fd, size } of this.closed ? [] : this.files)
			if (sys.fstat(fd).size < size)
				throw new ImageError("EIO", `${path}: shrank below ${size} bytes while it was read`, offset, target.length);
	}

	extents(offset: number, length: number): Extent[] | Promise<Extent[]> {
		return this.inner.extents(offset, length);
	}

	close(): Promise<void> {
		this.closed ??= (async () => {
			await this.inner.close();
			for (const { fd } of this.files) sys.close(fd);
			const { child } = this;
			if (child.exitCode !== null || child.signalCode !== null) return;
			const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
			// It holds nothing that wants saving.
			child.kill("SIGKILL");
			await gone;
		})();
		return this.closed;
	}
}
