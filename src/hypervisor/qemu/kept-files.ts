/** What of a VM is neither disk nor configuration, and comes back with it: UEFI's variables, and its TPM's state. */
import { mkdirSync, rmSync } from "node:fs";
import { readFileWhole, replaceFileDurably } from "../../../native/durable-file.js";
import type { VmConfig } from "../../vm/index.js";
import { TPM_STATE, type VmDescription } from "../contract.js";
import { chooseFirmware } from "./firmware.js";
import type { VmPlaces } from "./layout.js";

const NVRAM = "nvram.fd";

/** Of a VM that runs, as they are at this moment: swtpm replaces its file, and firmware can take a torn write. */
export const withKeptFiles = (places: VmPlaces, config: VmConfig): VmDescription => {
	const nvram = config.firmware === "uefi" ? contentOf(places.nvram) : undefined;
	const tpm = config.tpm ? contentOf(places.tpmState) : undefined;
	return {
		config: { ...config, nvram: nvram === undefined ? null : NVRAM },
		files: [
			...(nvram === undefined ? [] : [{ name: NVRAM, content: nvram }]),
			...(tpm === undefined ? [] : [{ name: TPM_STATE, content: tpm }]),
		],
	};
};

/** For a VM that is made; what an earlier try left goes. What could not be kept, a sentence each. Throws UNSUPPORTED. */
export const putKeptFiles = (places: VmPlaces, config: VmConfig, files: VmDescription["files"]): string[] => {
	const notes: string[] = [];
	dropKeptFiles(places);
	const named = (wanted: string | null) => files.find(({ name }) => name === wanted)?.content;
	const nvram = named(config.nvram);
	const uefi = config.firmware === "uefi";
	const fits = uefi && chooseFirmware(config.name ?? "", config, nvram?.length) !== undefined;
	const tpm = config.tpm ? named(TPM_STATE) : undefined;
	if (config.tpm && tpm === undefined)
		notes.push(
			"its TPM's state is not in the backup: it starts with an empty TPM, and what was sealed needs its recovery key",
		);
	if (uefi && nvram === undefined) notes.push("its NVRAM is not in the backup: it starts with empty variables");
	if (uefi && nvram !== undefined && !fits)
		notes.push(`its NVRAM of ${nvram.length} bytes goes with no firmware here: it starts with empty variables`);
	if (tpm !== undefined) put(places, places.tpm, places.tpmState, tpm);
	if (fits && nvram !== undefined) put(places, places.folder, places.nvram, nvram);
	return notes;
};

const put = (places: VmPlaces, folder: string, path: string, content: Buffer): void => {
	markUnfinished(places);
	mkdirSync(folder, { recursive: true, mode: 0o700 });
	replaceFileDurably(path, content);
};

export const markUnfinished = ({ own, unfinished }: VmPlaces): void => {
	mkdirSync(own, { recursive: true, mode: 0o700 });
	replaceFileDurably(unfinished, Buffer.alloc(0));
};

export const dropKeptFiles = ({ nvram, tpm }: VmPlaces): void => {
	for (const path of [nvram, `${nvram}.new`]) rmSync(path, { recursive: true, force: true });
	rmSync(tpm, { recursive: true, force: true });
};

const contentOf = (path: string): Buffer | undefined => {
	try {
		return readFileWhole(path);
	} catch (error) {
		if ((error as { code?: string }).code === "ENOENT") return undefined;
		throw error;
	}
};
