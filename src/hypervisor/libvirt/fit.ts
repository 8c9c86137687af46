/** libvirt's own definition of a VM among the files of its backup, made to fit this host. */
import { existsSync } from "node:fs";
import {
	type DomainNeeds,
	domainNeeds,
	type FittedDomain,
	fitDomain,
	type HostGives,
	type VmConfig,
} from "../../vm/index.js";
import type { VmDescription } from "../contract.js";
import { causeOf } from "../errors.js";
import type { Host } from "./domain.js";
import { DOMAIN_FILE } from "./read-config.js";
import { withFiles } from "./with-files.js";

/** Undefined when there is none: then the VM is made from its neutral configuration. Throws ConfigError. */
export const fitted = async (
	host: Host,
	config: VmConfig,
	files: VmDescription["files"],
): Promise<FittedDomain | undefined> => {
	const original = originalOf(config, files);
	return original && fitDomain(original, await asked(host, domainNeeds(original)));
};

/** As this driver stored it, or as it was given to a backup. */
const originalOf = (config: VmConfig, files: VmDescription["files"]): Buffer | undefined =>
	(
		files.find(({ name }) => name === DOMAIN_FILE) ??
		(config.source === "libvirt" ? files.find(({ name }) => name.endsWith(".xml")) : undefined)
	)?.content;

/** The kind of VM that runs best on the host. */
export const acceleration = (host: Host): Promise<"kvm" | "qemu"> =>
	can(host, ["--virttype", "kvm"]).then((kvm) => (kvm ? "kvm" : "qemu"));

const can = ({ virsh }: Host, args: string[]): Promise<boolean> =>
	virsh.call(["domcapabilities", ...args]).then(
		() => true,
		(error) => {
			if (error.code !== "FAILED") throw error;
			return false;
		},
	);

const asked = async (host: Host, needs: DomainNeeds): Promise<HostGives> => {
	const type = needs.type === "kvm" && (await acceleration(host)) === "qemu" ? "qemu" : null;
	const virtType = ["--virttype", type ?? needs.type];
	const { machine: own, emulator } = needs;
	const known = own === null || (await can(host, [...virtType, "--machine", own]));
	const machine = known ? null : own.includes("q35") ? "q35" : "pc";
	return {
		has: host.uri.local ? existsSync : undefined,
		type,
		machine,
		emulator: emulator === null || (await can(host, ["--emulatorbin", emulator])),
		cpu: await processor(host, needs, virtType, machine ?? own),
	};
};

const processor = async (
	{ virsh }: Host,
	{ cpu, passthroughCpu }: DomainNeeds,
	virtType: string[],
	machine: string | null,
): Promise<HostGives["cpu"]> => {
	const mode = virtType[1] === "kvm" ? "host-model" : "maximum";
	if (passthroughCpu && mode === "maximum") return { mode, why: "only KVM gives the host's own" };
	if (cpu === null) return null;
	const place = machine === null ? [] : ["--machine", machine];
	try {
		await withFiles([cpu], ([path]) => virsh.call(["hypervisor-cpu-compare", ...virtType, ...place, "--error", path]));
		return null;
	} catch (error) {
		// A libvirt that cannot tell leaves it to the start.
		const why = /incompatible|unknown cpu/i.test(causeOf(error)) ? causeOf(error) : undefined;
		return why === undefined
			? null
			: { mode, why: why.replace(/^libvirt: (the CPU is incompatible with host CPU: )?/, "") };
	}
};
