/** What crashed runs left on a host: found by its names, and taken away. */
import { existsSync } from "node:fs";
import { causeOf } from "../errors.js";
import { forgetBitmaps } from "./forget-bitmaps.js";
import { thawLeftover } from "./freeze.js";
import { stopHelper } from "./helper.js";
import { vmFolders } from "./layout.js";
import { Qmp } from "./qmp.js";
import { clearUnregistered } from "./register.js";
import { removeScratch } from "./scratch.js";
import { settleMove } from "./settle-move.js";
import { takeAway } from "./take-away.js";
import { endLeftTpm } from "./tpm.js";
import { tryLock, type Vm, vmIn } from "./vm.js";

/** Whoever calls this has the VM's lock. One line for each thing. */
export const cleanVm = async (vm: Vm): Promise<string[]> => {
	const lines: string[] = [];
	if (await thawLeftover(vm)) lines.push(`VM ${vm.name}: frozen file systems`);
	for (const socket of [vm.places.qmp, vm.places.helper]) {
		const qmp = await Qmp.connect(socket);
		try {
			if (socket === vm.places.qmp) lines.push(...(await settleMove(vm, qmp)));
			if (qmp !== undefined) lines.push(...(await takeAway(vm, qmp)), ...(await forgetBitmaps(vm, qmp)));
		} finally {
			qmp?.close();
		}
	}
	if (await stopHelper(vm)) lines.push(`VM ${vm.name}: the process that read its disks`);
	if (await endLeftTpm(vm)) lines.push(`VM ${vm.name}: the process of its TPM`);
	const files = removeScratch(vm);
	if (files > 0) lines.push(`VM ${vm.name}: ${files} scratch files`);
	return lines;
};

export const cleanUp = async (host: string): Promise<string[]> => {
	const names = vmFolders(host);
	const lines = clearUnregistered(host);
	for (const name of names) {
		try {
			const vm = vmIn(host, name);
			if (!existsSync(vm.places.own)) continue;
			const lock = tryLock(vm);
			if (lock === undefined) continue;
			try {
				lines.push(...(await cleanVm(vm)));
			} finally {
				lock.release();
			}
		} catch (error) {
			lines.push(`VM ${name}: not cleaned: ${causeOf(error)}`);
		}
	}
	return lines;
};
