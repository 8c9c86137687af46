/** `--config FILE`: the VM's configuration, kept as it is and in neutral form, with the NVRAM beside it. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ConfigError, parseDomainXml, parseVmx, type VmConfig } from "../vm/index.js";
import { reason, SourceError } from "./errors.js";

export interface ReadConfig {
	config: VmConfig;
	/** to be stored with the point, under the names of POINT_FILES */
	files: { name: string; content: Buffer }[];
}

/** Names of a restore point's extra files; `VmConfig.nvram` says when there is one of the last. */
export const POINT_FILES = { vmx: "config.vmx", xml: "config.xml", nvram: "nvram" } as const;

const MAX_CONFIG = 1024 * 1024;
/** OVMF's variable stores have 528 KiB, VMware's 265 KiB to a few MiB with keys enrolled. */
const MAX_NVRAM = 64 * 1024 * 1024;

/** Throws SourceError of one line that names the file. */
export function readConfig(path: string): ReadConfig {
	const kind = /\.vmx$/i.test(path) ? "vmx" : /\.xml$/i.test(path) ? "xml" : undefined;
	if (!kind) throw new SourceError("USAGE", `--config ${path}: name a .vmx file or a libvirt domain .xml file`);
	const content = readSmall(path, MAX_CONFIG);
	let config: VmConfig;
	try {
		config = kind === "vmx" ? parseVmx(content) : parseDomainXml(content);
	} catch (error) {
		if (error instanceof ConfigError) throw new SourceError("SOURCE", `${path}: ${error.message}`);
		throw error;
	}
	const files: ReadConfig["files"] = [{ name: POINT_FILES[kind], content }];
	if (config.nvram === null) return { config, files };
	const nvram = readNvram(path, config.nvram);
	if (nvram === undefined) {
		const note = `NVRAM "${basename(config.nvram)}" is not beside the configuration: firmware settings are not in the backup`;
		return { config: { ...config, nvram: null, notes: [...config.notes, note] }, files };
	}
	files.push({ name: POINT_FILES.nvram, content: nvram });
	return { config: { ...config, nvram: POINT_FILES.nvram }, files };
}

/**
 * libvirt keeps NVRAM elsewhere and names it absolutely; whatever is named, only a file of that name in the
 * configuration's own folder is read, and no link is followed out of it.
 */
function readNvram(config: string, named: string): Buffer | undefined {
	const name = basename(named.replaceAll("\\", "/"));
	if (name === "" || name === "." || name === ".." || name.includes("\0")) return undefined;
	const path = join(dirname(config), name);
	try {
		return readSmall(path, MAX_NVRAM, constants.O_NOFOLLOW);
	} catch (error) {
		if (((error as Error).cause as NodeJS.ErrnoException)?.code === "ENOENT") return undefined;
		throw error;
	}
}

function readSmall(path: string, limit: number, flags = 0): Buffer {
	let fd: number;
	try {
		fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | flags);
	} catch (error) {
		throw new SourceError("SOURCE", `${path}: ${reason(error)}`, { cause: error });
	}
	try {
		const stat = fstatSync(fd);
		if (!stat.isFile()) throw new SourceError("SOURCE", `${path}: not a regular file`);
		if (stat.size > limit) throw new SourceError("SOURCE", `${path}: larger than ${limit} bytes`);
		const bytes = Buffer.alloc(stat.size);
		let have = 0;
		for (let count = -1; count !== 0 && have < bytes.length; have += count)
			count = readSync(fd, bytes, have, bytes.length - have, have);
		return bytes.subarray(0, have);
	} finally {
		closeSync(fd);
	}
}
