/** A VM's UEFI variables: a file in its folder, from the firmware's template where the backup kept none that fits. */
import { readFileSync, statSync } from "node:fs";
import { replaceFileDurably } from "../../../native/durable-file.js";
import type { VmConfig } from "../../vm/index.js";
import { HypervisorError } from "../errors.js";
import { chooseFirmware, type Firmware } from "./firmware.js";
import type { VmPlaces } from "./layout.js";
import type { Vm } from "./vm.js";

/** For a VM that is about to start. Throws UNSUPPORTED. */
export const makeNvram = ({ name, places, definition: { config } }: Vm): void => {
	if (config.firmware !== "uefi" || sizeOf(places) !== undefined) return;
	replaceFileDurably(places.nvram, readFileSync(chooseFirmware(name, config)!.template));
};

/** Never probed: a guest writes what is in its NVRAM. */
const flash = (node: string, filename: string, readOnly: boolean): string[] => [
	"-blockdev",
	JSON.stringify({ driver: "raw", "node-name": node, "read-only": readOnly, file: { driver: "file", filename } }),
];

/** `machine` without its options. Throws UNSUPPORTED. */
export const firmwareArguments = (places: VmPlaces, config: VmConfig, machine: string): string[] => {
	const { code, secure } = firmwareOf(places, config);
	const options = `${secure ? ",smm=on" : ""},pflash0=firmware,pflash1=nvram`;
	return [
		...flash("firmware", code, true),
		...flash("nvram", places.nvram, false),
		...["-machine", `${machine}${options}`],
		// The flash takes writes from SMM only.
		...(secure ? ["-global", "driver=cfi.pflash01,property=secure,value=on"] : []),
	];
};

const firmwareOf = (places: VmPlaces, config: VmConfig): Firmware => {
	const size = sizeOf(places);
	const firmware = chooseFirmware(config.name ?? places.folder, config, size);
	if (firmware !== undefined) return firmware;
	throw new HypervisorError(
		"UNSUPPORTED",
		`${places.nvram} has ${size} bytes, and no firmware here goes with that: install the one it was made with, or move the file away to start with empty variables`,
	);
};

const sizeOf = ({ nvram }: VmPlaces): number | undefined => statSync(nvram, { throwIfNoEntry: false })?.size;
