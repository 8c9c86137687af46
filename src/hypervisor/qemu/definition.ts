/** `vm.json`: what a VM on a `qemu` host is. The neutral configuration, and where its disks are. */
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { readFileWhole, replaceFileDurably } from "../../../native/durable-file.js";
import { sys } from "../../../native/index.js";
import { type VmConfig, vmConfigFrom } from "../../vm/index.js";
import { causeOf, HypervisorError } from "../errors.js";

export interface DefinedDisk {
	/** path, relative to the VM's folder or absolute; or URI (nfs, nbd, nbd+unix) */
	source: string;
	format: "raw" | "qcow2";
}

export interface Definition {
	version: 1;
	config: VmConfig;
	/** by the name that `config` gives the disk */
	disks: Record<string, DefinedDisk>;
	/** boots this kernel instead of the first disk */
	kernel?: { image: string; initrd?: string; append?: string };
	/** default: KVM where it works */
	acceleration?: "kvm" | "tcg";
	/** UUID that the guest sees as its VM generation (new for each copy of a VM) */
	generation?: string;
	/** what the firmware says goes to the serial console, too */
	console?: boolean;
	/** made by us: name of the session */
	session?: string;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const DISK = /^[A-Za-z0-9._-]{1,64}$/;
export const isUri = (source: string): boolean => /^(nfs|nbd|nbd\+unix):\/\//.test(source);

/** Throws INVALID that names the file and what is wrong in it. */
export const readDefinition = (path: string): Definition => {
	const fail = (why: string) => new HypervisorError("INVALID", `${path}: ${why}`);
	let found: unknown;
	try {
		found = JSON.parse(readFileWhole(path).toString("utf8"));
	} catch (error) {
		throw fail(error instanceof SyntaxError ? "is not JSON" : `cannot be read: ${causeOf(error)}`);
	}
	if (typeof found !== "object" || found === null) throw fail("is not a definition");
	const { version, config: stored, disks, ...rest } = found as Record<string, unknown>;
	const config = version === 1 ? vmConfigFrom(stored) : undefined;
	if (config === undefined) throw fail("is not a definition of version 1");
	if (config.uuid === null || !UUID.test(config.uuid)) throw fail("config.uuid must be a UUID in lower case");
	const sources: Record<string, DefinedDisk> = {};
	for (const [name, disk] of Object.entries((disks ?? {}) as Record<string, Partial<DefinedDisk> | null>)) {
		if (!DISK.test(name)) throw fail(`disk "${name}": a name has letters, digits, ".", "_" and "-"`);
		const { source, format } = disk ?? {};
		if (typeof source !== "string" || (format !== "raw" && format !== "qcow2"))
			throw fail(`disk ${name} needs "source" and "format" (raw or qcow2)`);
		sources[name] = { source, format };
	}
	for (const { name } of config.disks)
		if (name === null || sources[name] === undefined) throw fail(`disk ${name} of config has no entry in "disks"`);
	return { ...(rest as Partial<Definition>), version: 1, config, disks: sources };
};

export const writeDefinition = (path: string, definition: Definition): void =>
	replaceFileDurably(path, Buffer.from(`${JSON.stringify(definition, null, "\t")}\n`), 0o600);

/** The same, where there must be none: all of it is there, or nothing. */
export const createDefinition = (path: string, definition: Definition): void => {
	mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
	const whole = path + UNFINISHED;
	writeDefinition(whole, definition);
	try {
		sys.link(whole, path);
	} catch (error) {
		if ((error as { code?: string }).code !== "EEXIST") throw error;
		throw new HypervisorError("STATE", `${path} exists already: choose another name for the VM`);
	} finally {
		clearUnfinished(dirname(path));
	}
	sys.fsyncDirectory(dirname(path));
};

const UNFINISHED = ".made";

/** Takes away a definition that was never finished being made, and its folder when that holds nothing else. True: there was one. */
export const clearUnfinished = (folder: string): boolean => {
	const names = existsSync(folder) ? readdirSync(folder) : [];
	const ours = names.filter((name) => name.startsWith(`vm.json${UNFINISHED}`));
	for (const name of ours) rmSync(join(folder, name), { force: true });
	if (names.length === ours.length && names.length > 0) rmdirSync(folder);
	return ours.length > 0;
};

/** Absolute path of a disk that is a file; undefined for a URI. */
export const fileOf = (folder: string, { source }: DefinedDisk): string | undefined =>
	isUri(source) ? undefined : isAbsolute(source) ? source : join(folder, source);
