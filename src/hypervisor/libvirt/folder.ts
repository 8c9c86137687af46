/** The folder of a snapshot: QEMU's NBD socket, and what the guest overwrites meanwhile. */
import { chownSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { all, attribute, content, first, parseXml } from "../../vm/index.js";
import { causeOf, HypervisorError } from "../errors.js";

/** On a disk, and kept over reboots: it may become as large as what the guest writes. */
const PLACE = "/var/tmp";
const PREFIX = "springback-";

/** For QEMU's user alone, who is in `xml`, the definition of the VM that runs. */
export const makeFolder = (xml: Buffer, place = PLACE): string => {
	let folder: string | undefined;
	try {
		folder = mkdtempSync(join(place, PREFIX));
		const owner = ownerOf(xml);
		if (owner !== undefined) chownSync(folder, owner.uid, owner.gid);
		return folder;
	} catch (error) {
		if (folder !== undefined) rmdirSync(folder);
		const denied = (error as { code?: string }).code === "EPERM";
		throw new HypervisorError(
			denied ? "DENIED" : "FAILED",
			denied
				? `${place}: cannot make a folder there for QEMU's user: run springback as root`
				: `${place}: cannot make a folder for old content there: ${causeOf(error)}`,
		);
	}
};

/** Undefined where QEMU runs as whoever runs libvirt. */
const ownerOf = (xml: Buffer): { uid: number; gid: number } | undefined => {
	const label = all(parseXml(xml, "domain", "domain XML"), "seclabel").find((one) => attribute(one, "model") === "dac");
	const match = /^\+?(\d+):\+?(\d+)$/.exec(content(first(label, "label")) ?? "");
	return match === null ? undefined : { uid: Number(match[1]), gid: Number(match[2]) };
};

/** True when it was there. A note that names something else than such a folder is not believed. */
export const removeFolder = (folder: string): boolean => {
	if (!/^springback-[A-Za-z0-9]{6}$/.test(basename(folder))) return false;
	let files: string[];
	try {
		files = readdirSync(folder);
	} catch {
		return false;
	}
	for (const file of files) if (/^(nbd\.sock|.*\.scratch)$/.test(file)) rmSync(join(folder, file), { force: true });
	rmdirSync(folder);
	return true;
};
