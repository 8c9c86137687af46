/** The screen, as QEMU draws it. */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Vm, withQmp } from "./vm.js";

/** PNG */
export const screenshot = async (vm: Vm): Promise<Buffer> => {
	mkdirSync(vm.places.own, { recursive: true, mode: 0o700 });
	const path = join(vm.places.own, `screen-${process.pid}-${Date.now()}.png`);
	try {
		await withQmp(vm, (qmp) => qmp.execute("screendump", { filename: path, format: "png" }));
		return readFileSync(path);
	} finally {
		rmSync(path, { force: true });
	}
};
