/** The steps of a recovery on hosts. Each finds out first whether an earlier run has done it. */
import type { HostVm, Hypervisor } from "../hypervisor/index.js";
import type { Point, Repository } from "../repository/index.js";
import { RecoveryError } from "./errors.js";
import type { RecoveryRecord, Replaced } from "./records.js";
import type { NamedHost, Published, World } from "./world.js";

/** Powers the original off and gives it another name and id. */
export const replaceOriginal = async ({ replaced }: Pick<RecoveryRecord, "replaced">, world: World): Promise<void> => {
	if (replaced === null) return;
	const host = await world.host(replaced.host).open();
	const { vm, aside } = await findReplaced(host, replaced);
	if (vm === undefined)
		throw new RecoveryError(
			"STATE",
			`VM ${replaced.name} (${replaced.id}) is not on ${replaced.host} any more: it was to be replaced`,
		);
	if (aside) return;
	if (vm.state !== "off") await host.power(vm.id, "off");
	await host.rename!(vm.id, replaced.aside);
};

/** Brings it back as it was, as far as that was changed. */
export const restoreOriginal = async (replaced: Replaced, world: World, powerOn: boolean): Promise<void> => {
	const host = await world.host(replaced.host).open();
	const { vm } = await findReplaced(host, replaced);
	if (vm === undefined) return;
	// Also one that was renamed in part only.
	if (vm.id !== replaced.id || vm.name !== replaced.name)
		await host.rename!(vm.id, { name: replaced.name, id: replaced.id });
	if (powerOn && vm.state === "off") await host.power(replaced.id, "on");
};

const findReplaced = async (
	host: Hypervisor,
	{ id, aside }: Replaced,
): Promise<{ vm: HostVm | undefined; aside: boolean }> => {
	const vms = await host.list();
	const vm = vms.find((one) => one.id === aside.id) ?? vms.find((one) => one.id === id && one.session === null);
	return { vm, aside: vm?.id === aside.id && vm.name === aside.name };
};

/** Our VM on the host; undefined when it is not there. Rejects when its id is somebody else's. */
export const recoveredVm = async (record: RecoveryRecord, host: Hypervisor): Promise<HostVm | undefined> => {
	const vm = (await host.list()).find(({ id }) => id === record.id);
	if (vm !== undefined && vm.session !== record.session) {
		if (vm.id === record.replaced?.id) return undefined;
		throw new RecoveryError(
			"STATE",
			`VM ${vm.name} on ${record.host} has the id ${record.id} and is not of session ${record.session}`,
		);
	}
	return vm;
};

/** What was stored beside the disks: NVRAM, the hypervisor's own definition. */
export const filesOf = (repository: Repository, point: Point): Promise<{ name: string; content: Buffer }[]> =>
	Promise.all(point.files.map(async ({ name }) => ({ name, content: await repository.extraFile(point, name) })));

export const register = async (
	record: RecoveryRecord,
	published: Published,
	files: { name: string; content: Buffer }[],
	host: Hypervisor,
): Promise<void> => {
	if ((await recoveredVm(record, host)) !== undefined) return;
	await host.register({
		name: record.name,
		config: record.config,
		disks: published.disks.map(({ disk, uris }) => ({
			name: disk,
			source: sourceOf(uris, record),
			format: "raw" as const,
		})),
		networks: record.networks,
		session: record.session,
		files,
	});
};

/** A UNIX socket where QEMU may open it, else TCP. */
const sourceOf = (uris: string[], { listen, diskUser, session }: RecoveryRecord): string => {
	const unix = listen === null && diskUser === null;
	const wanted = uris.find((uri) => uri.startsWith(unix ? "nbd+unix:" : "nbd:"));
	if (wanted !== undefined) return wanted;
	throw new RecoveryError(
		"STATE",
		unix
			? `session ${session} has no NBD socket: use a shorter --state, whose path with the socket's name has 107 bytes at most`
			: `session ${session} is not served by NBD over TCP without TLS: finish what the mount process serves, and recover with --nbd-port N; or use another --state`,
	);
};

/** Runs it, unless that was not wanted. A guest that waits for its disks goes on. */
export const start = async (record: RecoveryRecord, host: Hypervisor): Promise<void> => {
	const vm = await recoveredVm(record, host);
	if (vm === undefined) throw new RecoveryError("STATE", `VM ${record.name} is not on ${record.host} any more`);
	if (!record.powerOn) return;
	if (vm.state === "off") await host.power(record.id, "on");
	else if (vm.state === "paused") await host.power(record.id, "resume");
};

/** One connection to a host in a run. */
export const connecting = (host: Omit<NamedHost, "open">, open: () => Promise<Hypervisor>): NamedHost => {
	let opened: Promise<Hypervisor> | undefined;
	return {
		...host,
		open() {
			opened ??= open();
			return opened;
		},
	};
};
