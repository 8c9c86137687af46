/**
 * VMDK sources, as far as they name other files. Flat extents are read by ourselves; sparse, compressed and
 * snapshot extents by QEMU, through a descriptor rewritten to name descriptors instead of paths.
 */
import type { Lane } from "../../native/index.js";
import {
	ConfigError,
	MAX_DESCRIPTOR_BYTES,
	parseDescriptor,
	type VmdkDescriptor,
	type VmdkExtent,
} from "../vm/index.js";
import type { BlockNode, Chain } from "./block-tree.js";
import { SourceError } from "./errors.js";
import type { SourceFile, SourceFiles } from "./source-files.js";
import { checkSparseExtent } from "./truncation.js";

/** A piece of a disk that is not in any special format. */
export interface FlatPiece {
	/** undefined: zeros */
	file: SourceFile | undefined;
	/** bytes */
	start: number;
	length: number;
}

export type VmdkLayout = { kind: "flat"; pieces: FlatPiece[] } | { kind: "node"; node: BlockNode };

const SECTOR = 512;
const SPARSE_MAGIC = "KDMV";
const COW_MAGIC = "COWD";
/** little endian 0xcafebabe in eight bytes */
const SESPARSE_MAGIC = 0xcafebaben;
const FLAT_TYPES = new Set(["FLAT", "VMFS", "ZERO"]);
/** createType by which QEMU lets an extent type in */
const CREATE_TYPES: Readonly<Record<string, string>> = {
	SPARSE: "twoGbMaxExtentSparse",
	VMFSSPARSE: "vmfsSparse",
	SESPARSE: "seSparse",
};

/** Throws SourceError, naming what is refused, before anything else sees the file. */
export function vmdkLayout(files: SourceFiles, file: SourceFile, chain: Chain): VmdkLayout {
	chain.enter(file);
	const head = files.read(file, 0, SECTOR);
	const magic = head.toString("latin1", 0, 4);
	if (magic === SPARSE_MAGIC) return { kind: "node", node: sparseNode(files, file, head, chain) };
	if (magic === COW_MAGIC || (head.length >= 8 && head.readBigUInt64LE(0) === SESPARSE_MAGIC)) throw extentAlone(file);
	if (file.size > MAX_DESCRIPTOR_BYTES || !/^\s*# Disk DescriptorFile/i.test(head.toString("latin1"))) {
		const remedy = /-flat\.vmdk$/.test(file.path) ? "; name its descriptor, or read it as raw:PATH" : "";
		throw new SourceError("SOURCE", `${file.path}: not a VMDK disk${remedy}`);
	}
	const descriptor = parse(file, files.read(file, 0, file.size));
	if (descriptor.extents.length === 0) throw new SourceError("SOURCE", `${file.path}: the descriptor names no extents`);
	if (descriptor.parentCid === "ffffffff" && descriptor.extents.every((extent) => FLAT_TYPES.has(extent.type)))
		return { kind: "flat", pieces: descriptor.extents.map((extent) => flatPiece(files, file, extent)) };
	return { kind: "node", node: splitNode(files, file, descriptor, chain) };
}

/** As a backing file, where QEMU needs a node of the vmdk driver. */
export function vmdkNode(files: SourceFiles, file: SourceFile, chain: Chain): BlockNode {
	const layout = vmdkLayout(files, file, chain);
	if (layout.kind === "node") return layout.node;
	return splitNode(files, file, parse(file, files.read(file, 0, file.size)), chain);
}

const extentAlone = (file: SourceFile) =>
	new SourceError("SOURCE", `${file.path}: is one extent of a disk; name the disk's descriptor instead`);

function parse(file: SourceFile, bytes: Buffer): VmdkDescriptor {
	try {
		return parseDescriptor(bytes);
	} catch (error) {
		if (error instanceof ConfigError) throw new SourceError("SOURCE", `${file.path}: ${error.message}`);
		throw error;
	}
}

function flatPiece(files: SourceFiles, from: SourceFile, extent: VmdkExtent): FlatPiece {
	const length = extent.sectors * SECTOR;
	if (extent.access === "NOACCESS") throw new SourceError("SOURCE", `${from.path}: an extent may not be accessed`);
	if (extent.file === undefined) return { file: undefined, start: 0, length };
	const file = files.beside(from, extent.file, "extent");
	const start = extent.start * SECTOR;
	if (start + length > file.size)
		throw new SourceError(
			"SOURCE",
			`${file.path}: is cut off: the descriptor says ${start + length} bytes, the file has ${file.size}`,
		);
	return { file, start, length };
}

/** monolithicSparse and streamOptimized: the descriptor is inside. */
function sparseNode(files: SourceFiles, file: SourceFile, head: Buffer, chain: Chain): BlockNode {
	checkSparse(file, head);
	const at = Number(head.readBigUInt64LE(28)) * SECTOR;
	const length = Number(head.readBigUInt64LE(36)) * SECTOR;
	if (at === 0 || length === 0) throw extentAlone(file);
	if (!Number.isSafeInteger(at) || length > MAX_DESCRIPTOR_BYTES || at + length > file.size)
		throw new SourceError("SOURCE", `${file.path}: VMDK header with a misplaced descriptor`);
	const text = files.read(file, at, length);
	// The extents of a split disk have room for a descriptor, but none in it.
	if (text[0] === 0) throw extentAlone(file);
	const descriptor = parse(file, text);
	const node: BlockNode = { driver: "vmdk", file, check: (lane) => checkSparseExtent(lane, file, head) };
	return withParent(files, file, descriptor, node, chain);
}

/** With no capacity in the header QEMU would follow the names in the embedded descriptor. */
function checkSparse(file: SourceFile, head: Buffer): void {
	if (head.length < SECTOR || head.toString("latin1", 0, 4) !== SPARSE_MAGIC)
		throw new SourceError("SOURCE", `${file.path}: not a sparse VMDK extent`);
	if (head.readBigUInt64LE(12) === 0n) throw new SourceError("SOURCE", `${file.path}: VMDK header without a size`);
}

function splitNode(files: SourceFiles, file: SourceFile, descriptor: VmdkDescriptor, chain: Chain): BlockNode {
	const lines: { extent: VmdkExtent; index: number }[] = [];
	const opened: SourceFile[] = [];
	const checks: ((lane: Lane) => Promise<void>)[] = [];
	for (const extent of descriptor.extents) {
		const supported = extent.type === "FLAT" || extent.type === "VMFS" || Object.hasOwn(CREATE_TYPES, extent.type);
		// QEMU leaves out extents that it does not know, and the disk would be shifted.
		if (!supported || extent.access === "NOACCESS" || extent.file === undefined)
			throw new SourceError(
				"SOURCE",
				`${file.path}: extents of type ${extent.access} ${extent.type} are not supported`,
			);
		const part = files.beside(file, extent.file, "extent");
		const head = checkExtent(files, part, extent);
		if (extent.type === "SPARSE") checks.push((lane) => checkSparseExtent(lane, part, head));
		lines.push({ extent, index: opened.length });
		opened.push(part);
	}
	const special = descriptor.extents.find((extent) => Object.hasOwn(CREATE_TYPES, extent.type));
	const createType = special ? CREATE_TYPES[special.type] : "vmfs";
	const text = (path: (extent: number) => string) =>
		`# Disk DescriptorFile\nversion=1\nCID=${descriptor.cid}\nparentCID=${descriptor.parentCid}\ncreateType="${createType}"\n${
			descriptor.parentCid === "ffffffff" ? "" : 'parentFileNameHint="parent"\n'
		}${lines
			.map(({ extent, index }) => {
				const start = extent.type === "FLAT" ? ` ${extent.start}` : "";
				return `RW ${extent.sectors} ${extent.type} "${path(index)}"${start}\n`;
			})
			.join("")}\n# The Disk Data Base\n#DDB\n`;
	const check = async (lane: Lane) => {
		for (const one of checks) await one(lane);
	};
	const node: BlockNode = { driver: "vmdk", file: { path: file.path, text }, extents: opened, check };
	return withParent(files, file, descriptor, node, chain);
}

/** Returns the extent's first sector. */
function checkExtent(files: SourceFiles, file: SourceFile, { type, start, sectors }: VmdkExtent): Buffer {
	const head = files.read(file, 0, SECTOR);
	if ((type === "FLAT" || type === "VMFS") && (start + sectors) * SECTOR > file.size)
		throw new SourceError(
			"SOURCE",
			`${file.path}: is cut off: the descriptor says ${(start + sectors) * SECTOR} bytes, the file has ${file.size}`,
		);
	if (type === "SPARSE") checkSparse(file, head);
	if (type === "VMFSSPARSE" && head.toString("latin1", 0, 4) !== COW_MAGIC)
		throw new SourceError("SOURCE", `${file.path}: not a VMFS sparse extent`);
	if (type === "SESPARSE" && (head.length < SECTOR || head.readBigUInt64LE(0) !== SESPARSE_MAGIC))
		throw new SourceError("SOURCE", `${file.path}: not a space-efficient sparse extent`);
	return head;
}

function withParent(
	files: SourceFiles,
	file: SourceFile,
	descriptor: VmdkDescriptor,
	node: BlockNode,
	chain: Chain,
): BlockNode {
	if (descriptor.parentCid === "ffffffff") return node;
	if (!descriptor.parentHint) throw new SourceError("SOURCE", `${file.path}: has a parent but does not name it`);
	const parent = files.beside(file, descriptor.parentHint, "parent");
	return { ...node, backing: vmdkNode(files, parent, chain) };
}
