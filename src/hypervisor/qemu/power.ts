/** Power: on, shutdown, off, reset, pause, resume. */
import { mkdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { PowerAction } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { firmwareSpeaks, SERCON_PORT, vmArguments } from "./command-line.js";
import { forgetBitmaps } from "./forget-bitmaps.js";
import { enterLab } from "./lab-network.js";
import { makeNvram } from "./nvram.js";
import { startProcess } from "./start-process.js";
import { endTpm, startTpm, tpmWords } from "./tpm.js";
import { stateOf, tryLock, type Vm, withQmp } from "./vm.js";

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
	const starting = tryLock(vm, vm.places.starting);
	if (starting === undefined) throw new HypervisorError("BUSY", `VM ${vm.name} is being started by another run`);
	try {
		await endTpm(vm.places);
		makeNvram(vm);
		if (vm.definition.acceleration !== undefined) await start(vm, vm.definition.acceleration);
		else
			try {
				await start(vm, "kvm");
			} catch (error) {
				// A device node does not tell: nested and confined machines have one that runs nothing.
				if (!/kvm/i.test(causeOf(error))) throw error;
				await start(vm, "tcg");
			}
	} finally {
		starting.release();
	}
	await withQmp(vm, (qmp) => forgetBitmaps(vm, qmp));
};

const start = async (vm: Vm, acceleration: "kvm" | "tcg"): Promise<void> => {
	const { places, definition } = vm;
	if (firmwareSpeaks(definition)) writeFileSync(places.sercon, SERCON_PORT);
	const args = vmArguments(places, definition, acceleration);
	const tpm = definition.config.tpm ? () => startTpm(places) : undefined;
	try {
		await startProcess(vm.name, args, places.log, tpm, await enterLab(vm));
	} catch (error) {
		if (tpm === undefined) throw error;
		// A QEMU that gives up over its TPM may take a while for it.
		await untilOff(vm).finally(() => endTpm(places, 0));
		const words = /tpm/.test(causeOf(error)) ? tpmWords(places) : undefined;
		if (words === undefined) throw error;
		throw new HypervisorError(
			"FAILED",
			`${vm.name}: its TPM does not start from ${places.tpm}: ${words}: move the folder away to start with an empty one`,
		);
	}
};

/** Pulls the plug; persistent bitmaps are stored, because QEMU closes its disks. */
const powerOff = async (vm: Vm): Promise<void> => {
	await withQmp(vm, (qmp) => qmp.execute("quit"));
	await untilOff(vm);
	await endTpm(vm.places);
};

const untilOff = async (vm: Vm): Promise<void> => {
	for (let waited = 0; (await stateOf(vm).catch(() => "on")) !== "off"; waited += 50) {
		if (waited > END_MS) throw new HypervisorError("TIMEOUT", `VM ${vm.name}: QEMU does not end`);
		await sleep(50);
	}
};
