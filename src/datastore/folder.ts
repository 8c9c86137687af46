/**
 * What a new session's folder contains: `VM.vmx`, per disk a descriptor and its flat extent, and the files backed up
 * with the point that a host wants (NVRAM). They are made once, when the session is made: ESXi rewrites `.vmx` and
 * descriptors, and an upgrade of ours must not change them under a registered VM.
 */
import type { Image } from "../image/image.js";
import type { SeedEntry } from "../overlay/contract.js";
import type { Point } from "../repository/contract.js";
import { NAME_MAX, nameFromText } from "../vfs/vfs.js";
import { ConfigError, flatSize, type PublishedVmx, publishedVmx, vmConfigFrom, writeDescriptor } from "../vm/index.js";

/** Size of a published disk: whole sectors, the rest reads as zeros. */
export const paddedSize = flatSize;

const STEM_BYTES_MAX = NAME_MAX - "_VARS.fd".length;
const FILE_MODE = 0o644;
const SECRET_MODE = 0o600;

/**
 * @param extraFile content of a file stored with the point
 * @param images one per disk of the point, in its order: bases 0, 1, …
 */
export async function sessionFolder(
	point: Point,
	extraFile: (name: string) => Promise<Buffer>,
	images: Image[],
): Promise<SeedEntry[]> {
	const stem = vmxStem(point.vm);
	const seed: SeedEntry[] = [];
	const add = (name: string, content: Buffer, mode = FILE_MODE) =>
		seed.push({ path: [nameFromText(name)], kind: "file", mode, content });

	const config = vmConfigFrom(point.config);
	const stored = config?.nvram && point.files.some(({ name }) => name === config.nvram) ? config.nvram : undefined;
	// A QEMU guest's variables are an OVMF store, which ESXi cannot use: there for QEMU, but not named in the .vmx.
	const nvram = stored && config?.source === "vmx" ? `${stem}.nvram` : undefined;
	const original = point.files.find(({ name }) => name.toLowerCase().endsWith(".vmx"));
	const vmx: PublishedVmx = {
		name: point.vm,
		config,
		original: original && (await extraFile(original.name)),
		disks: point.disks.map(({ name }) => ({ name, file: `${name}.vmdk` })),
		nvram,
		uuidAction: "keep",
	};
	add(`${stem}.vmx`, Buffer.from(vmxText(vmx), "utf8"));
	if (stored) add(nvram ?? `${stem}_VARS.fd`, await extraFile(stored), SECRET_MODE);
	for (const [index, disk] of point.disks.entries()) {
		const place = config?.disks.find(({ name }) => name === disk.name);
		const descriptor = writeDescriptor({
			size: images[index].size,
			extent: `${disk.name}-flat.vmdk`,
			identity: `${point.id} ${disk.name}`,
			adapter: place?.bus === "ide" ? "ide" : "lsilogic",
		});
		add(`${disk.name}.vmdk`, Buffer.from(descriptor, "utf8"), SECRET_MODE);
		seed.push({ path: [nameFromText(`${disk.name}-flat.vmdk`)], kind: "file", mode: SECRET_MODE, base: index });
	}
	return seed;
}

/** A stored `.vmx` that does not parse must not stop a recovery: the neutral model is then used instead. */
function vmxText(vmx: PublishedVmx): string {
	try {
		return publishedVmx(vmx);
	} catch (error) {
		if (!(error instanceof ConfigError) || !vmx.original) throw error;
		return publishedVmx({ ...vmx, original: undefined });
	}
}

/** The VM's name as a file name: whole characters, at most as many bytes as a directory entry takes. */
function vmxStem(vm: string): string {
	let stem = vm;
	while (Buffer.byteLength(stem) > STEM_BYTES_MAX) stem = [...stem].slice(0, -1).join("");
	return stem;
}
