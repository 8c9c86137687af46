/** A VM made by us, and taken away again. */
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { sys } from "../../../native/index.js";
import type { RegisterRequest } from "../contract.js";
import { HypervisorError } from "../errors.js";
import { createDefinition, type DefinedDisk, isUri } from "./definition.js";
import { vmPlaces } from "./layout.js";
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
		const network = nic.network === null ? undefined : networks[nic.network];
		return { ...nic, network: network ?? nic.network, connected: nic.connected && network !== undefined };
	});
	createDefinition(vmPlaces(join(host, name)).definition, {
		version: 1,
		config: {
			...config,
			name,
			uuid: id,
			disks: kept.map((disk) => ({ ...disk, path: disks[disk.name!].source })),
			nics,
		},
		disks,
		// Fresh: directory servers must notice that time went back.
		generation: randomUUID(),
		// Empty: a VM of its own, without a session.
		...(session === "" ? {} : { session }),
	});
	return id;
};

/** What QEMU and we leave in a VM's folder; disks and everything else stay. */
const OURS = ["qmp.sock", "agent.sock", "console.sock", "console.log", "qemu.log"];

export const unregister = async (vm: Vm): Promise<void> => {
	const lock = lockVm(vm);
	try {
		if ((await stateOf(vm)) !== "off") throw new HypervisorError("STATE", `VM ${vm.name} is on: power it off first`);
		const { folder, definition, own } = vm.places;
		sys.unlink(definition);
		sys.fsyncDirectory(folder);
		for (const name of OURS) rmSync(join(folder, name), { force: true });
		rmSync(own, { recursive: true, force: true });
		if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder);
	} finally {
		lock.release();
	}
};
