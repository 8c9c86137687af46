/**
 * Logical volumes of LVM 2, linear ones: label and header of a physical volume, and the text metadata (lvm2: lib/format_text,
 * libdm/libdm-config). Whatever is damaged or unusual is a sentence, not a wrong volume.
 */
import { ConcatImage, type Image, SliceImage } from "../../../image/index.js";
import { type ConfigNode, parseConfig, section, sectionsOf, textOf, wholeOf } from "./lvm-text.js";

export interface PhysicalVolume {
	/** as people know it: "disk0/p5" */
	name: string;
	image: Image;
}

export interface LogicalVolume {
	/** "vg/lv" */
	name: string;
	/** a sentence where it cannot be put together */
	image: Image | string;
}

const SECTOR = 512;
const MAX_METADATA = 16 * 1024 * 1024;
const MAGIC = " LVM2 x[5A%r0N*>";

interface Metadata {
	pvId: string;
	/** newer metadata has a higher one */
	sequence: number;
	name: string;
	group: ConfigNode;
}

/** Never rejects but for reads that fail. `problems`: physical volumes whose metadata is damaged. */
export const logicalVolumes = async (
	physical: PhysicalVolume[],
): Promise<{ volumes: LogicalVolume[]; problems: { name: string; what: string }[] }> => {
	const problems: { name: string; what: string }[] = [];
	const images = new Map<string, Image>();
	const newest = new Map<string, Metadata>();
	for (const { name, image } of physical) {
		const found = await metadataOf(image);
		if (typeof found === "string") {
			problems.push({ name, what: `the LVM metadata is damaged: ${found}` });
			continue;
		}
		if (found === undefined) continue;
		images.set(found.pvId, image);
		const id = textOf(found.group, "id") ?? found.name;
		if (found.sequence > (newest.get(id)?.sequence ?? -1)) newest.set(id, found);
	}
	const volumes = [...newest.values()].flatMap(({ name, group }) =>
		sectionsOf(section(group, "logical_volumes"))
			.filter(([, volume]) => Array.isArray(volume.status) && volume.status.includes("VISIBLE"))
			.map(([own, volume]) => ({ name: `${name}/${own}`, image: assemble(group, volume, images) })),
	);
	return { volumes, problems };
};

/** Undefined: a physical volume that belongs to no group, or keeps no metadata. A string says what is damaged. */
const metadataOf = async (image: Image): Promise<Metadata | string | undefined> => {
	const label = await bytesAt(image, 0, 4 * SECTOR);
	const at = [0, 1, 2, 3].map((i) => i * SECTOR).find((i) => label.toString("latin1", i, i + 8) === "LABELONE");
	if (at === undefined) return "there is no label";
	let next = at + label.readUInt32LE(at + 20);
	if (next + 40 > label.length) return "the label leads nowhere";
	const pvId = label.toString("latin1", next, next + 32);
	next += 40;
	// Two lists of areas, each ended by one of no offset: data, then metadata.
	const lists: { offset: number; size: number }[][] = [[], []];
	for (const list of lists)
		for (; next + 16 <= label.length; next += 16) {
			const [offset, size] = [Number(label.readBigUInt64LE(next)), Number(label.readBigUInt64LE(next + 8))];
			if (offset === 0) {
				next += 16;
				break;
			}
			list.push({ offset, size });
		}
	let problem: string | undefined;
	for (const area of lists[1]) {
		const found = await areaText(image, area);
		if (typeof found === "string") problem = found;
		else if (found !== undefined) return { pvId, ...found };
	}
	return problem;
};

const areaText = async (
	image: Image,
	{ offset, size }: { offset: number; size: number },
): Promise<Omit<Metadata, "pvId"> | string | undefined> => {
	if (offset + size > image.size || size < 2 * SECTOR) return "an area lies beyond the end";
	const header = await bytesAt(image, offset, SECTOR);
	if (header.toString("latin1", 4, 20) !== MAGIC) return "an area has no header";
	const [from, length] = [Number(header.readBigUInt64LE(40)), Number(header.readBigUInt64LE(48))];
	if (length === 0) return undefined;
	if (length > MAX_METADATA || from + SECTOR > size || length > size - SECTOR) return "an area's header is wrong";
	// A ring that begins after the header.
	const first = Math.min(length, size - from);
	const text = Buffer.concat([
		await bytesAt(image, offset + from, first),
		await bytesAt(image, offset + SECTOR, length - first),
	]).toString("utf8");
	try {
		const root = parseConfig(text);
		const [entry] = sectionsOf(root);
		if (entry === undefined) return "the text names no volume group";
		return { name: entry[0], group: entry[1], sequence: wholeOf(entry[1], "seqno") ?? 0 };
	} catch (error) {
		return (error as Error).message;
	}
};

const assemble = (group: ConfigNode, volume: ConfigNode, images: Map<string, Image>): Image | string => {
	const extent = (wholeOf(group, "extent_size") ?? 0) * SECTOR;
	const parts: { start: number; image: Image }[] = [];
	for (const [, segment] of sectionsOf(volume)) {
		const [start, count] = [wholeOf(segment, "start_extent"), wholeOf(segment, "extent_count")];
		const type = textOf(segment, "type") ?? "";
		if (type !== "striped" || wholeOf(segment, "stripe_count") !== 1)
			return `LVM, ${type === "striped" ? "several stripes" : `type ${type}`}`;
		const [name, first] = Array.isArray(segment.stripes) ? segment.stripes : [];
		const pv = section(section(group, "physical_volumes"), String(name));
		const image = images.get((textOf(pv, "id") ?? "").replaceAll("-", ""));
		if (image === undefined) return "LVM, parts of it are not in the restore point";
		const from = (wholeOf(pv, "pe_start") ?? 0) * SECTOR + Number(first) * extent;
		const size = (count ?? 0) * extent;
		if (start === undefined || !(size > 0) || !(from >= 0) || from + size > image.size)
			return "LVM, its map leads beyond the end of a disk";
		parts.push({ start, image: new SliceImage(image, from, size) });
	}
	if (parts.length === 0) return "LVM, without a map";
	return new ConcatImage(parts.sort((a, b) => a.start - b.start).map(({ image }) => image));
};

const bytesAt = async (image: Image, offset: number, length: number): Promise<Buffer> => {
	const bytes = Buffer.alloc(length);
	if (length > 0) await image.read(offset, bytes);
	return bytes;
};
