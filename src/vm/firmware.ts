/** Without a configuration: which firmware boots these disks, and a configuration made from that guess. */
import { DEFAULT_CPUS, DEFAULT_MEMORY_MIB, type Firmware, type VmConfig } from "./model.js";
import { type BootFacts, type DiskReader, readBootFacts } from "./partition-table.js";

export interface FirmwareGuess {
	firmware: Firmware;
	/** one sentence, recorded with the restore point */
	why: string;
}

/** `undefined`: the disk does not boot. */
export function firmwareOf(facts: BootFacts): FirmwareGuess | undefined {
	const { table, bootCode, efiSystem, biosBoot } = facts;
	if (table === "gpt") {
		if (bootCode && biosBoot)
			return {
				firmware: "bios",
				why: `GPT with boot code and a BIOS boot partition${efiSystem ? " (it may boot with UEFI too)" : ""}`,
			};
		if (efiSystem) return { firmware: "uefi", why: "GPT with an EFI system partition and no way to boot from BIOS" };
		if (bootCode) return { firmware: "bios", why: "GPT without an EFI system partition, with boot code" };
	}
	if (table === "mbr") {
		if (bootCode) return { firmware: "bios", why: "MBR with boot code" };
		if (efiSystem) return { firmware: "uefi", why: "MBR with an EFI system partition and no boot code" };
	}
	return undefined;
}

/** Looks at the disks in order and takes the first that boots. Reads at most 1 MiB of each. */
export async function guessFirmware(disks: { name: string; reader: DiskReader }[]): Promise<FirmwareGuess> {
	for (const { name, reader } of disks) {
		const guess = firmwareOf(await readBootFacts(reader));
		if (guess) return { firmware: guess.firmware, why: `${name}: ${guess.why}` };
	}
	return { firmware: "bios", why: "no disk has a boot sector: BIOS assumed" };
}

/** A configuration for a VM of which only the disks are known. */
export async function guessConfig(
	name: string,
	disks: { name: string; reader: DiskReader; path: string | null }[],
): Promise<VmConfig> {
	const { firmware, why } = await guessFirmware(disks);
	return {
		version: 1,
		name,
		uuid: null,
		memoryMiB: DEFAULT_MEMORY_MIB,
		cpus: DEFAULT_CPUS,
		coresPerSocket: null,
		firmware,
		secureBoot: false,
		tpm: false,
		guestOs: null,
		controllers: [{ bus: "virtio", number: 0, model: null }],
		disks: disks.map((disk, unit) => ({
			bus: "virtio",
			controller: 0,
			unit,
			path: disk.path,
			name: disk.name,
			unprotected: null,
		})),
		nics: [],
		nvram: null,
		source: "guess",
		notes: [`firmware ${firmware} guessed: ${why}`, "memory, processors and controllers are defaults"],
	};
}
