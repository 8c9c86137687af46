/** Power: on, shutdown, off, reset, pause, resume. */
import { mkdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { PowerAction } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { vmArguments } from "./command-line.js";
import { forgetBitmaps } from "./forget-bitmaps.js";
import { startProcess } from "./start-process.js";
import { stateOf, type Vm, withQmp } from "./vm.js";

const END_MS = 10_000;

export const power = async (vm: Vm, action: PowerAction): Promise<void> => {
	switch (action) {
		case "on":
			return powerOn(vm);
		case "off":
			return powerOff(vm);
		case "shutdown":
			return withQmp(vm, (qmp) => qmp.execute("system_powerdown").then(() => undefined));
		case "reset":
			return withQmp(vm, (qmp) => qmp.execute("system_reset").then(() => undefined));
		case "pause":
			return withQmp(vm, (qmp) => qmp.execute("stop").then(() => undefined));
		case "resume":
			return withQmp(vm, (qmp) => qmp.execute("cont").then(() => undefined));
	}
};

const powerOn = async (vm: Vm): Promise<void> => {
	if ((await stateOf(vm)) !== "off") throw new HypervisorError("STATE", `VM ${vm.name} is on already`);
	mkdirSync(vm.places.own, { recursive: true, mode: 0o700 });
	const { places, definition } = vm;
	const start = (acceleration: "kvm" | "tcg") =>
		startProcess(vm.name, vmArguments(places, definition, acceleration), places.log);
	if (definition.acceleration !== undefined) await start(definition.acceleration);
	else
		try {
			await start("kvm");
		} catch (error) {
			// A device node does not tell: nested and confined machines have one that runs nothing.
			if (!/kvm/i.test(causeOf(error))) throw error;
			await start("tcg");
		}
	await withQmp(vm, (qmp) => forgetBitmaps(vm, qmp));
};

/** Pulls the plug; persistent bitmaps are stored, because QEMU closes its disks. */
const powerOff = async (vm: Vm): Promise<void> => {
	await withQmp(vm, (qmp) => qmp.execute("quit"));
	for (let waited = 0; (await stateOf(vm).catch(() => "on")) !== "off"; waited += 50) {
		if (waited > END_MS) throw new HypervisorError("TIMEOUT", `VM ${vm.name}: QEMU does not end`);
		await sleep(50);
	}
};
