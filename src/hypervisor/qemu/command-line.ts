/** Arguments of the QEMU process of a VM, and of the one that only reads the disks of a VM that is off. */
import { join, resolve } from "node:path";
import type { VmConfig } from "../../vm/index.js";
import { HypervisorError } from "../errors.js";
import { blockNode } from "./block-nodes.js";
import { type Definition, fileOf } from "./definition.js";
import { diskDevices, networkCards } from "./devices.js";
import type { VmPlaces } from "./layout.js";
import { firmwareArguments } from "./nvram.js";
import { SOCKET_PATH_MAX } from "./qmp.js";
import { CHANNEL } from "./start-process.js";
import { tpmArguments } from "./tpm.js";

const server = (path: string): string => `path=${quoted(path)},server=on,wait=off`;
/** A comma ends an option unless it is doubled. */
const quoted = (path: string): string => path.replaceAll(",", ",,");

/** Throws UNSUPPORTED or INVALID. */
export const vmArguments = (places: VmPlaces, definition: Definition, acceleration: "kvm" | "tcg"): string[] => {
	const { config, kernel, generation } = definition;
	const { netdevs, devices } = networkCards(config.uuid!, config.nics);
	const sockets = socketPaths(places);
	return [
		...["-nodefaults", "-no-user-config", "-display", "none"],
		...["-name", `guest=${quoted(config.name ?? "vm")}`, "-uuid", config.uuid!],
		...machineArguments(places, config),
		...(config.tpm ? tpmArguments(CHANNEL) : []),
		...["-accel", acceleration, "-cpu", acceleration === "kvm" ? "host" : "max"],
		...["-m", String(config.memoryMiB), "-smp", String(config.cpus)],
		...monitor(sockets.qmp),
		...["-chardev", `socket,id=agent,${server(sockets.agent)}`, "-device", "virtio-serial-pci"],
		...["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"],
		...[
			"-chardev",
			`socket,id=console,${server(sockets.console)},logfile=${quoted(join(places.folder, "console.log"))}`,
		],
		...["-serial", "chardev:console", "-device", "VGA", "-device", "virtio-rng-pci"],
		...(firmwareSpeaks(definition) ? ["-fw_cfg", `name=etc/sercon-port,file=${quoted(places.sercon)}`] : []),
		...(generation === undefined ? [] : ["-device", `vmgenid,guid=${generation}`]),
		...diskNodes(places, definition),
		...diskDevices(config, definition.disks).flatMap((device) => ["-device", JSON.stringify(device)]),
		...netdevs.flatMap((netdev) => ["-netdev", JSON.stringify(netdev)]),
		...devices.flatMap((device) => ["-device", JSON.stringify(device)]),
		...(kernel === undefined ? [] : kernelArguments(places.folder, kernel)),
	];
};

/** SeaBIOS writes what is on the screen to a serial port, too, when it is told its address; UEFI does so anyway. */
export const firmwareSpeaks = ({ console, config, kernel }: Definition): boolean =>
	console === true && config.firmware === "bios" && kernel === undefined;
/** As SeaBIOS reads it: the address of COM1, 64 bits, little-endian. */
export const SERCON_PORT = Buffer.from([0xf8, 0x03, 0, 0, 0, 0, 0, 0]);

const machineArguments = (places: VmPlaces, config: VmConfig): string[] => {
	const machine = config.disks.some(({ bus }) => bus === "ide") ? "pc" : "q35";
	return config.firmware === "uefi" ? firmwareArguments(places, config, machine) : ["-machine", machine];
};

/** No guest, no devices: the disks as nodes, as in the VM's own process. QEMU's locks keep the VM from starting meanwhile. */
export const helperArguments = (places: VmPlaces, definition: Definition): string[] => [
	...["-nodefaults", "-no-user-config", "-display", "none", "-machine", "none", "-S"],
	...monitor(places.helper),
	...diskNodes(places, definition),
];

const monitor = (path: string): string[] => [
	...["-chardev", `socket,id=monitor,${server(path)}`],
	...["-mon", "chardev=monitor,mode=control"],
];

const diskNodes = ({ folder }: VmPlaces, { config, disks }: Definition): string[] =>
	config.disks.flatMap(({ name }, index) => {
		const disk = disks[name!];
		return ["-blockdev", JSON.stringify(blockNode(index, fileOf(folder, disk) ?? disk.source, disk.format))];
	});

const kernelArguments = (folder: string, { image, initrd, append }: NonNullable<Definition["kernel"]>): string[] => [
	...["-kernel", resolve(folder, image)],
	...(initrd === undefined ? [] : ["-initrd", resolve(folder, initrd)]),
	...(append === undefined ? [] : ["-append", append]),
];

const socketPaths = (places: VmPlaces) => {
	const paths = { qmp: places.qmp, agent: places.agent, console: join(places.folder, "console.sock") };
	for (const path of [...Object.values(paths), places.helper])
		if (Buffer.byteLength(path) > SOCKET_PATH_MAX)
			throw new HypervisorError(
				"INVALID",
				`${path}: a socket's path has ${SOCKET_PATH_MAX} bytes at most: move the VM to a shorter folder`,
			);
	return paths;
};
