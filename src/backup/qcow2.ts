/**
 * qcow2 headers, as far as they name other files (docs/interop/qcow2.txt of QEMU). The images themselves are
 * read by QEMU; this decides what it may be given.
 */
import type { BlockNode, Chain, NodeReader } from "./block-tree.js";
import { SourceError } from "./errors.js";
import type { SourceFile, SourceFiles } from "./source-files.js";
import { checkQcow2, type Qcow2Tables } from "./truncation.js";

export interface Qcow2Header {
	/** bytes */
	size: number;
	encrypted: boolean;
	backing: string | undefined;
	/** from the header extension; undefined when the image leaves it to guessing */
	backingFormat: string | undefined;
	dataFile: string | undefined;
	tables: Qcow2Tables;
}

const MAGIC = 0x514649fb;
/** Incompatible features: dirty, corrupt, external data file, compression type, extended L2 entries. */
const CORRUPT = 2n;
const DATA_FILE = 4n;
const EXTENDED_L2 = 16n;
const KNOWN = 31n;
const EXTENSION_BACKING_FORMAT = 0xe2792aca;
const EXTENSION_DATA_FILE = 0x44415441;
const MAX_NAME = 1023;
/** Header, extensions and backing name all lie in the first cluster, which has at most 2 MiB. */
export const QCOW2_HEADER_BYTES = 2 * 1024 * 1024;

/** Throws Error with the reason alone; `bytes` is the beginning of the file. */
export function parseQcow2Header(bytes: Buffer): Qcow2Header {
	if (bytes.length < 72 || bytes.readUInt32BE(0) !== MAGIC) throw new Error("not a qcow2 image");
	const version = bytes.readUInt32BE(4);
	if (version !== 2 && version !== 3)
		throw new Error(`qcow version ${version} is not supported: convert it with qemu-img convert -O qcow2`);
	const clusterBits = bytes.readUInt32BE(20);
	if (clusterBits < 9 || clusterBits > 21) throw new Error("qcow2 header with an impossible cluster size");
	const size = bytes.readBigUInt64BE(24);
	if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error("qcow2 header with an impossible size");
	let features = 0n;
	let headerLength = 72;
	if (version === 3) {
		if (bytes.length < 104) throw new Error("qcow2 header is cut off");
		features = bytes.readBigUInt64BE(72);
		headerLength = bytes.readUInt32BE(100);
	}
	if ((features & ~KNOWN) !== 0n) throw new Error("qcow2 image with features of a newer version");
	if ((features & CORRUPT) !== 0n) throw new Error("qcow2 image is marked corrupt: run qemu-img check -r all on it");
	const cluster = bytes.subarray(0, 2 ** clusterBits);
	const backing = backingName(cluster, bytes.readBigUInt64BE(8), bytes.readUInt32BE(16));
	const extensions = readExtensions(cluster, headerLength, backing?.offset ?? cluster.length);
	const dataFile = (features & DATA_FILE) !== 0n ? extensions.get(EXTENSION_DATA_FILE) : undefined;
	if ((features & DATA_FILE) !== 0n && !dataFile) throw new Error("qcow2 image with a data file that it does not name");
	return {
		size: Number(size),
		encrypted: bytes.readUInt32BE(32) !== 0,
		backing: backing?.name,
		backingFormat: extensions.get(EXTENSION_BACKING_FORMAT),
		dataFile,
		tables: {
			clusterBits,
			l1Size: bytes.readUInt32BE(36),
			l1Offset: Number(bytes.readBigUInt64BE(40)),
			extendedL2: (features & EXTENDED_L2) !== 0n,
		},
	};
}

function backingName(cluster: Buffer, at: bigint, length: number): { name: string; offset: number } | undefined {
	if (at === 0n || length === 0) return undefined;
	if (length > MAX_NAME || at + BigInt(length) > BigInt(cluster.length))
		throw new Error("qcow2 header with a misplaced backing file name");
	const offset = Number(at);
	return { name: cluster.toString("utf8", offset, offset + length), offset };
}

function readExtensions(cluster: Buffer, start: number, end: number): Map<number, string> {
	const found = new Map<number, string>();
	for (let at = start; at + 8 <= end; ) {
		const type = cluster.readUInt32BE(at);
		const length = cluster.readUInt32BE(at + 4);
		if (type === 0) break;
		if (at + 8 + length > end) throw new Error("qcow2 header extension runs over its end");
		if (type === EXTENSION_BACKING_FORMAT || type === EXTENSION_DATA_FILE)
			found.set(type, cluster.toString("utf8", at + 8, at + 8 + length));
		at += 8 + Math.ceil(length / 8) * 8;
	}
	return found;
}

/** `readers` opens a backing file of each format. Throws SourceError. */
export function qcow2Node(
	files: SourceFiles,
	file: SourceFile,
	chain: Chain,
	readers: Readonly<Record<string, NodeReader>>,
): BlockNode {
	chain.enter(file);
	let header: Qcow2Header;
	try {
		header = parseQcow2Header(files.read(file, 0, QCOW2_HEADER_BYTES));
	} catch (error) {
		if (error instanceof SourceError) throw error;
		throw new SourceError("SOURCE", `${file.path}: ${(error as Error).message}`);
	}
	if (header.encrypted)
		throw new SourceError("SOURCE", `${file.path}: is encrypted; convert it to a plain image with qemu-img first`);
	const node: BlockNode = { driver: "qcow2", file };
	if (header.dataFile !== undefined) node.dataFile = files.beside(file, header.dataFile, "data file");
	node.check = (lane) => checkQcow2(lane, file, node.dataFile ?? file, header.tables);
	if (header.backing !== undefined) {
		const format = header.backingFormat;
		if (format === undefined)
			throw new SourceError(
				"SOURCE",
				`${file.path}: does not say the format of its backing file "${header.backing.slice(0, 200)}": fix it with qemu-img rebase -u -F FORMAT -b BACKING`,
			);
		if (!Object.hasOwn(readers, format))
			throw new SourceError(
				"SOURCE",
				`${file.path}: its backing file has the unsupported format "${format.slice(0, 40)}"`,
			);
		node.backing = readers[format](files, files.beside(file, header.backing, "backing file"), chain);
	}
	return node;
}
