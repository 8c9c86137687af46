/** What crashed runs left on a host: found by its names, and taken away. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { causeOf } from "../errors.js";
import { clearUnfinished } from "./definition.js";
import { forgetBitmaps } from "./forget-bitmaps.js";
import { thawLeftover } from "./freeze.js";
import { stopHelper } from "./helper.js";
import { vmFolders } from "./layout.js";
import { resumeLeftover } from "./pause.js";
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
			if (socket === vm.places.qmp) {
				if (await resumeLeftover(vm, qmp)) lines.push(`VM ${vm.name}: a guest that stood still`);
				lines.push(...(await settleMove(vm, qmp)));
			}
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

/** @param only name of the only VM that is looked at */
export const cleanUp = async (host: string, only?: string): Promise<string[]> => {
	if (only !== undefined) return cleanOne(host, only);
	const lines = clearUnregistered(host);
	const names = vmFolders(host);
	for (const { name } of readdirSync(host, { withFileTypes: true }).filter((entry) => entry.isDirectory()))
		if (!names.includes(name) && clearUnfinished(join(host, name))) lines.push(`VM ${name}: a registration`);
	for (const name of names) lines.push(...(await cleanOne(host, name)));
	return lines;
};

const cleanOne = async (host: string, name: string): Promise<string[]> => {
	try {
		const vm = vmIn(host, name);
		if (!existsSync(vm.places.own)) return [];
		const lock = tryLock(vm);
		if (lock === undefined) return [];
		try {
			return await cleanVm(vm);
		} finally {
			lock.release();
		}
	} catch (error) {
		return [`VM ${name}: not cleaned: ${causeOf(error)}`];
	}
};
