/**
 * A source disk as QEMU shall see it: every node explicit (driver, descriptor, backing), so that QEMU has nothing
 * to look up by name and nothing to guess.
 */
import type { Lane } from "../../native/index.js";
import { SourceError } from "./errors.js";
import type { SourceFile, SourceFiles } from "./source-files.js";
import type { FileFormat } from "./source-spec.js";

export interface BlockNode {
	driver: FileFormat;
	file: SourceFile | TextFile;
	/** qcow2: external data file */
	dataFile?: SourceFile;
	/** vmdk: what the rewritten descriptor's extents name, by placeholder */
	extents?: SourceFile[];
	backing?: BlockNode;
	/** Rejects with SourceError when the file is cut off. */
	check?(lane: Lane): Promise<void>;
}

/** A file whose content we make: a descriptor that names descriptors instead of paths. */
export interface TextFile {
	/** `fd(i)` is the path by which QEMU reaches extent i */
	text(fd: (extent: number) => string): string;
	path: string;
}

export type NodeReader = (files: SourceFiles, file: SourceFile, chain: Chain) => BlockNode;

const MAX_DEPTH = 64;

/** The images from the top down to the one being read; refuses circles and endless chains. */
export class Chain {
	private readonly seen = new Set<string>();

	enter(file: SourceFile): void {
		if (this.seen.has(file.path)) throw new SourceError("SOURCE", `${file.path}: the backing files form a circle`);
		if (this.seen.size >= MAX_DEPTH)
			throw new SourceError("SOURCE", `${file.path}: more than ${MAX_DEPTH} backing files`);
		this.seen.add(file.path);
	}
}
