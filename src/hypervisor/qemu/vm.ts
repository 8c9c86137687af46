/** A VM of a host: found by id or name, spoken to over its monitor. */
import { constants as C, mkdirSync } from "node:fs";
import { join } from "node:path";
import { sys } from "../../../native/index.js";
import type { VmConfig } from "../../vm/index.js";
import type { PowerState } from "../contract.js";
import { HypervisorError } from "../errors.js";
import { type Definition, fileOf, readDefinition } from "./definition.js";
import { type VmPlaces, vmFolders, vmPlaces } from "./layout.js";
import { Qmp } from "./qmp.js";

export interface Vm {
	/** name of its folder */
	name: string;
	id: string;
	places: VmPlaces;
	definition: Definition;
}

export const vmIn = (host: string, name: string): Vm => {
	const places = vmPlaces(join(host, name));
	const definition = readDefinition(places.definition);
	return { name, id: definition.config.uuid!, places, definition };
};

/** By id, or by name where that is unique. Throws NOT_FOUND or AMBIGUOUS. */
export const findVm = (host: string, wanted: string): Vm => {
	const found: Vm[] = [];
	let problem: HypervisorError | undefined;
	for (const name of vmFolders(host)) {
		try {
			const vm = vmIn(host, name);
			if ([vm.id, vm.name, vm.definition.config.name].includes(wanted)) found.push(vm);
		} catch (error) {
			if (name === wanted) problem = error as HypervisorError;
		}
	}
	// Its own folder's name is never shared.
	const exact = found.filter(({ name, id }) => name === wanted || id === wanted);
	const [vm, ...more] = exact.length > 0 ? exact : found;
	if (vm !== undefined && more.length === 0) return vm;
	if (problem !== undefined) throw problem;
	if (vm === undefined) throw new HypervisorError("NOT_FOUND", `no VM ${wanted} in ${host}: springback vms lists them`);
	throw new HypervisorError(
		"AMBIGUOUS",
		`${more.length + 1} VMs are called ${wanted}: use the id: ${[vm, ...more].map(({ id, name }) => `${id} (${name})`).join(", ")}`,
	);
};

/** Its configuration, with where its disks are. */
export const configOf = ({ places, definition: { config, disks } }: Vm): VmConfig => ({
	...config,
	disks: config.disks.map((disk) => {
		const defined = disks[disk.name!];
		return { ...disk, path: fileOf(places.folder, defined) ?? defined.source };
	}),
});

/** Talks to the VM's process. Rejects with STATE when it is off. */
export const withQmp = async <T>(vm: Vm, work: (qmp: Qmp) => Promise<T>, path = vm.places.qmp): Promise<T> => {
	const qmp = await Qmp.connect(path);
	if (qmp === undefined) throw new HypervisorError("STATE", `VM ${vm.name} is off`);
	try {
		return await work(qmp);
	} finally {
		qmp.close();
	}
};

const RUNNING = new Set(["running"]);

export const stateOf = async (vm: Vm): Promise<PowerState> => {
	const qmp = await Qmp.connect(vm.places.qmp);
	if (qmp === undefined) return "off";
	try {
		const { status } = await qmp.execute<{ status: string }>("query-status");
		return RUNNING.has(status) ? "running" : "paused";
	} finally {
		qmp.close();
	}
};

/** Takes the VM for a snapshot or a move; ends with the process. Undefined when another run has it. */
export const tryLock = ({ places }: Vm, lock = places.lock): { release(): void } | undefined => {
	mkdirSync(places.own, { recursive: true, mode: 0o700 });
	const fd = sys.open(lock, C.O_RDWR | C.O_CREAT, 0o600);
	if (sys.lock(fd, "exclusive", 0, 1)) return { release: () => sys.close(fd) };
	sys.close(fd);
	return undefined;
};

export const lockVm = (vm: Vm): { release(): void } => {
	const lock = tryLock(vm);
	if (lock !== undefined) return lock;
	throw new HypervisorError(
		"BUSY",
		`VM ${vm.name} is being backed up or moved by another run: try again when it has ended`,
	);
};
