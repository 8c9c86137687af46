/** Another name and id for a VM that is off: its definition first, then its folder, so that it can be done again. */
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join, relative } from "node:path";
import { sys } from "../../../native/index.js";
import { HypervisorError } from "../errors.js";
import { clearUnfinished, type Definition, writeDefinition } from "./definition.js";
import { VM_NAME } from "./register.js";
import { lockVm, stateOf, type Vm } from "./vm.js";

/** `ids`: those of the host's other VMs. */
export const rename = async (vm: Vm, to: { name: string; id: string }, ids: string[]): Promise<void> => {
	if (!VM_NAME.test(to.name)) throw new HypervisorError("INVALID", `"${to.name}" cannot be the name of a VM here`);
	if (ids.includes(to.id)) throw new HypervisorError("STATE", `another VM has the id ${to.id} already`);
	const from = vm.places.folder;
	const folder = join(dirname(from), to.name);
	if (folder !== from) clearUnfinished(folder);
	if (folder !== from && existsSync(folder))
		throw new HypervisorError("STATE", `${folder} exists already: choose another name for VM ${vm.name}`);
	const lock = lockVm(vm);
	try {
		if ((await stateOf(vm)) !== "off") throw new HypervisorError("STATE", `VM ${vm.name} is on: power it off first`);
		writeDefinition(vm.places.definition, movedTo(vm.definition, from, folder, to));
		if (folder === from) return;
		sys.rename(from, folder);
		sys.fsyncDirectory(dirname(folder));
	} finally {
		lock.release();
	}
};

/** What is named by its absolute path in the old folder is in the new one. */
const movedTo = (definition: Definition, from: string, folder: string, { name, id }: { name: string; id: string }) => {
	const moved = (path: string): string => {
		const within = isAbsolute(path) ? relative(from, path) : "..";
		return within.startsWith("..") ? path : join(folder, within);
	};
	const { config, disks } = definition;
	return {
		...definition,
		config: {
			...config,
			...{ name, uuid: id },
			disks: config.disks.map((disk) => ({ ...disk, path: disk.path === null ? null : moved(disk.path) })),
		},
		disks: Object.fromEntries(
			Object.entries(disks).map(([disk, { source, format }]) => [disk, { source: moved(source), format }]),
		),
	};
};
