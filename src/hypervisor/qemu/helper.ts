/** The process that reads the disks of a VM that is off. QEMU's own locks keep the VM from being started meanwhile. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { helperArguments } from "./command-line.js";
import { Qmp } from "./qmp.js";
import { startProcess } from "./start-process.js";
import type { Vm } from "./vm.js";

export const startHelper = async (vm: Vm): Promise<void> => {
	mkdirSync(vm.places.own, { recursive: true, mode: 0o700 });
	await startProcess(vm.name, helperArguments(vm.places, vm.definition), join(vm.places.own, "qemu.log"));
};

/** Ends it, when there is one, so that bitmaps are stored. True when there was. */
export const stopHelper = async (vm: Vm): Promise<boolean> => {
	const qmp = await Qmp.connect(vm.places.helper);
	if (qmp === undefined) return false;
	try {
		await qmp.execute("quit");
	} finally {
		qmp.close();
	}
	for (;;) {
		const again = await Qmp.connect(vm.places.helper).catch(() => undefined);
		if (again === undefined) return true;
		again.close();
		await sleep(20);
	}
};
