/** A VM's configuration: the neutral model, libvirt's own document, and the files that firmware and TPM keep. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { VmConfig } from "../../vm/index.js";
import type { VmDescription } from "../contract.js";
import { type Domain, definitionOf, described } from "./domain.js";

export const DOMAIN_FILE = "domain.xml";
export const NVRAM_FILE = "nvram.fd";
/** Begins the names of the TPM's files. */
export const TPM_FILES = "tpm-";
/** bytes; a variable store has half a MiB, a TPM's state a few KiB */
const LARGEST = 16 * 1024 * 1024;

export const readConfig = async (domain: Domain): Promise<VmDescription> => {
	const xml = await definitionOf(domain, "stored");
	const { config } = described(domain, xml);
	const files = [{ name: DOMAIN_FILE, content: xml }];
	const notes = [...config.notes];
	const add = (name: string, path: string) => {
		try {
			const content = readFileSync(path);
			if (content.length > LARGEST) throw new Error("it is too large");
			files.push({ name, content });
		} catch (error) {
			notes.push(`${path} is not in the backup: ${(error as Error).message.split("\n")[0]}`);
		}
	};
	const vars = nvramPath(domain, config);
	if (vars !== null) {
		if (!domain.host.uri.local) notes.push("the NVRAM of a host that is far away is not in the backup");
		else if (existsSync(vars)) add(NVRAM_FILE, vars);
	}
	const nvram = files.some(({ name }) => name === NVRAM_FILE) ? NVRAM_FILE : null;
	if (config.tpm && domain.host.uri.local) {
		const folder = tpmFolder(domain.id);
		if (existsSync(folder))
			for (const file of readdirSync(folder))
				if (/^tpm2?-.*permall$/.test(file)) add(TPM_FILES + file, join(folder, file));
	}
	return { config: { ...config, nvram, notes }, files };
};

/** Where a libvirt of root's keeps the state of an emulated TPM 2.0. */
export const tpmFolder = (id: string): string => `/var/lib/libvirt/swtpm/${id}/tpm2`;

/** Where the firmware's variables are. Before version 9.2 libvirt does not say so of firmware that it chose itself. */
export const nvramPath = ({ host, name }: Domain, { firmware, nvram }: VmConfig): string | null => {
	if (nvram !== null || firmware !== "uefi" || host.uri.session) return nvram;
	return `/var/lib/libvirt/qemu/nvram/${name}_VARS.fd`;
};
