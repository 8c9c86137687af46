/** A VM made by us, and taken away again. */
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { sys } from "../../../native/index.js";
import type { RegisterRequest } from "../contract.js";
import { HypervisorError } from "../errors.js";
import { createDefinition, type DefinedDisk, isUri } from "./definition.js";
import { dropKeptFiles, markUnfinished, putKeptFiles } from "./kept-files.js";
import { checkLabDisks } from "./lab-network.js";
import { type VmPlaces, vmPlaces } from "./layout.js";
import { endTpm } from "./tpm.js";
import { lockVm, stateOf, type Vm } from "./vm.js";

export const VM_NAME = /^[^/.\p{Cc}][^/\p{Cc}]{0,127}$/u;

/** `ids`: those that the host's VMs have already. */
export const register = (host: string, request: RegisterRequest, ids: string[]): string => {
	const { name, config, networks, session } = request;
	if (!VM_NAME.test(name)) throw new HypervisorError("INVALID", `"${name}" cannot be the name of a VM here`);
	const id = config.uuid ?? randomUUID();
	if (ids.includes(id))
		throw new HypervisorError(
			"STATE",
			`a VM with the id ${id} is here already: it may be the original; remove it, or give the copy a new id`,
		);
	const disks: Record<string, DefinedDisk> = {};
	for (const { name: disk, source, format } of request.disks) {
		if (!isUri(source) && !isAbsolute(source))
			throw new HypervisorError(
				"INVALID",
				`disk ${disk}: ${source} is no absolute path and no nfs, nbd or nbd+unix URI`,
			);
		disks[disk] = { source, format };
	}
	const kept = config.disks.filter((disk) => disk.name !== null && disks[disk.name] !== undefined);
	const unplaced = Object.keys(disks).find((disk) => !kept.some((one) => one.name === disk));
	if (unplaced !== undefined)
		throw new HypervisorError("INVALID", `disk ${unplaced} is not in the configuration of ${name}`);
	const nics = config.nics.map((nic) => {
		// "" stands for cards whose network the source does not tell.
		const network = networks[nic.network ?? ""];
		return { ...nic, network: network ?? nic.network, connected: nic.connected && network !== undefined };
	});
	checkLabDisks(request, nics);
	const places = vmPlaces(join(host, name));
	if (existsSync(places.definition))
		throw new HypervisorError("STATE", `${places.definition} exists already: choose another name for the VM`);
	// Before the VM is there: it is never started without them.
	const notes = putKeptFiles(places, config, request.files ?? []);
	createDefinition(places.definition, {
		version: 1,
		config: {
			...config,
			name,
			uuid: id,
			disks: kept.map((disk) => ({ ...disk, path: disks[disk.name!].source })),
			nics,
			nvram: null,
			notes: [...config.notes, ...notes],
		},
		disks,
		// Fresh: directory servers must notice that time went back.
		generation: randomUUID(),
		...(request.console === true ? { console: true } : {}),
		// Empty: a VM of its own, without a session.
		...(session === "" ? {} : { session }),
	});
	rmSync(places.unfinished, { force: true });
	return id;
};

/** What QEMU and we leave in a VM's folder; disks and everything else stay. */
const OURS = ["qmp.sock", "agent.sock", "console.sock", "console.log", "qemu.log"];

export const unregister = async (vm: Vm): Promise<void> => {
	const lock = lockVm(vm);
	try {
		if ((await stateOf(vm)) !== "off") throw new HypervisorError("STATE", `VM ${vm.name} is on: power it off first`);
		const { folder, definition } = vm.places;
		await endTpm(vm.places);
		markUnfinished(vm.places);
		sys.unlink(definition);
		sys.fsyncDirectory(folder);
		clearFolder(vm.places);
	} finally {
		lock.release();
	}
};

const clearFolder = (places: VmPlaces): void => {
	for (const name of OURS) rmSync(join(places.folder, name), { force: true });
	dropKeptFiles(places);
	rmSync(places.own, { recursive: true, force: true });
	if (existsSync(places.folder) && readdirSync(places.folder).length === 0) rmdirSync(places.folder);
};

/** What a registration or its end left that died on the way. One line for each. */
export const clearUnregistered = (host: string): string[] => {
	const lines: string[] = [];
	for (const { name } of readdirSync(host, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
		const places = vmPlaces(join(host, name));
		if (existsSync(places.definition) || !existsSync(places.unfinished)) continue;
		clearFolder(places);
		lines.push(`VM ${name}: what is left of it without its definition`);
	}
	return lines;
};
