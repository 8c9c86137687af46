/** Opens a source as an Image, whatever it is. */
import { createLane, sys } from "../../native/index.js";
import { ConcatImage, type Image, openRaw, RawImage, SliceImage, ZeroImage } from "../image/index.js";
import { type BlockNode, Chain, type NodeReader } from "./block-tree.js";
import { reason, SourceError } from "./errors.js";
import { qcow2Node } from "./qcow2.js";
import { openWithQemu } from "./qemu.js";
import { SourceFiles } from "./source-files.js";
import type { SourceSpec } from "./source-spec.js";
import { type FlatPiece, vmdkLayout, vmdkNode } from "./vmdk.js";
import { isWrittenByQemu } from "./writers.js";

export interface OpenSource {
	name: string;
	image: Image;
	/** path or URI as given */
	path: string;
	/** "raw", "qcow2", "vmdk", "nbd" */
	kind: string;
	/** what the user should know about it, one sentence each */
	notes: string[];
}

/** Rejects with SourceError of one line that names the source. */
export async function openSource(spec: SourceSpec, signal?: AbortSignal): Promise<OpenSource> {
	const path = spec.kind === "nbd" ? spec.uri : spec.path;
	const kind = spec.kind === "nbd" ? "nbd" : spec.format;
	try {
		const image = await openImage(spec, signal);
		const busy = image instanceof RawImage && isWrittenByQemu(sys.fstat(image.fd));
		const notes = busy ? [`${path}: a running VM writes to it, so the copy may not be consistent`] : [];
		return { name: spec.name, path, kind, image, notes };
	} catch (error) {
		if (error instanceof SourceError) throw error;
		const said = reason(error);
		throw new SourceError("SOURCE", said.startsWith(path) ? said : `${path}: ${said}`, { cause: error });
	}
}

async function openImage(spec: SourceSpec, signal: AbortSignal | undefined): Promise<Image> {
	// Loaded when it is wanted, here and where QEMU is: a backup of raw files starts sooner without.
	if (spec.kind === "nbd") return (await import("../nbd/index.js")).connectNbd(spec.uri);
	if (spec.format === "raw") return openRaw(spec.path);
	const files = new SourceFiles(spec.path);
	try {
		if (spec.format === "qcow2") return await openWithQemu(files, READERS.qcow2(files, files.top, new Chain()), signal);
		const layout = vmdkLayout(files, files.top, new Chain());
		if (layout.kind === "flat") return openFlat(files, layout.pieces);
		return await openWithQemu(files, layout.node, signal);
	} finally {
		files.close();
	}
}

/** How each format is opened when it is somebody's backing file. */
const READERS: Readonly<Record<"raw" | "qcow2" | "vmdk", NodeReader>> = {
	raw(_files, file, chain): BlockNode {
		chain.enter(file);
		return { driver: "raw", file };
	},
	qcow2: (files, file, chain) => qcow2Node(files, file, chain, READERS),
	vmdk: vmdkNode,
};

/** Flat extents need no foreign reader: they are raw files side by side. One lane for all of them. */
function openFlat(files: SourceFiles, pieces: FlatPiece[]): Image {
	const lane = createLane("image", 4);
	const images = pieces.map(({ file, start, length }) => {
		if (!file) return new ZeroImage(length);
		files.release(file);
		return new SliceImage(new RawImage(file.path, file.fd, file.size, { lane }), start, length);
	});
	return new FlatImage(images, () => lane.close());
}

class FlatImage extends ConcatImage {
	constructor(
		images: Image[],
		private readonly after: () => Promise<void>,
	) {
		super(images);
	}

	override async close(): Promise<void> {
		await super.close();
		await this.after();
	}
}
