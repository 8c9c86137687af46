/** The inventory: every VM of the host, its disks, and how well a backup can follow them. */
import { statSync } from "node:fs";
import type { VmDisk } from "../../vm/index.js";
import type { HostDisk, HostVm } from "../contract.js";
import { causeOf } from "../errors.js";
import { usedNode } from "./block-nodes.js";
import { type DefinedDisk, fileOf, isUri } from "./definition.js";
import { vmFolders } from "./layout.js";
import { Qmp } from "./qmp.js";
import { stateOf, type Vm, vmIn } from "./vm.js";

export const listVms = async (host: string): Promise<HostVm[]> => {
	const vms: HostVm[] = [];
	for (const name of vmFolders(host)) {
		try {
			vms.push(await describe(vmIn(host, name)));
		} catch (error) {
			vms.push({ id: "", name, state: "off", disks: [], session: null, problem: causeOf(error) });
		}
	}
	return vms;
};

const describe = async (vm: Vm): Promise<HostVm> => {
	const { config, disks, session = null } = vm.definition;
	const sizes = await runningSizes(vm);
	return {
		id: vm.id,
		name: vm.name,
		state: await stateOf(vm),
		disks: config.disks.map((disk, index) => describeDisk(vm, disk, disks[disk.name!], sizes[index])),
		session,
		problem: null,
	};
};

const runningSizes = async (vm: Vm): Promise<(number | undefined)[]> => {
	const qmp = await Qmp.connect(vm.places.qmp);
	if (qmp === undefined) return [];
	try {
		const sizes: (number | undefined)[] = [];
		for (const index of vm.definition.config.disks.keys()) sizes.push((await usedNode(qmp, index))?.size);
		return sizes;
	} finally {
		qmp.close();
	}
};

const describeDisk = (vm: Vm, { name, unprotected }: VmDisk, disk: DefinedDisk, size: number | undefined): HostDisk => {
	const common = { name: name!, size: size ?? fileSize(vm, disk) };
	if (unprotected !== null)
		return { ...common, protected: false, tracking: "none", why: `marked as ${unprotected} in its configuration` };
	if (isUri(disk.source))
		return {
			...common,
			protected: true,
			tracking: "running",
			why: "it lies on another server, so changes are known only while the VM runs",
		};
	if (disk.format === "raw")
		return {
			...common,
			protected: true,
			tracking: "running",
			why: "a raw file cannot keep what changed: after a power-off all of it is compared",
		};
	return { ...common, protected: true, tracking: "persistent", why: null };
};

/** Of a raw file; a qcow2 tells its size to who opens it. */
const fileSize = (vm: Vm, disk: DefinedDisk): number | null => {
	const file = fileOf(vm.places.folder, disk);
	if (file === undefined || disk.format !== "raw") return null;
	return statSync(file, { throwIfNoEntry: false })?.size ?? null;
};
