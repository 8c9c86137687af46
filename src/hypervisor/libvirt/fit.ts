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
	const { machine: own, emulator } = needs;
	const has = emulator === null || (await can(host, ["--emulatorbin", emulator]));
	const type = needs.type === "kvm" && (await acceleration(host)) === "qemu" ? "qemu" : null;
	const virtType = type ?? needs.type;
	// Its own program may know other machines and processors than libvirt's choice.
	const program = has ? emulator : null;
	const known =
		own === null || (await can(host, [...option("--emulatorbin", program), "--virttype", virtType, "--machine", own]));
	const machine = known ? null : own.includes("q35") ? "q35" : "pc";
	const place = [...option("--emulator", program), "--virttype", virtType, ...option("--machine", machine ?? own)];
	return {
		has: host.uri.local ? existsSync : undefined,
		type,
		machine,
		emulator: has,
		processors: await processorsOf(host),
		cpu: await processor(host, needs, virtType, place),
	};
};

const option = (name: string, value: string | null): string[] => (value === null ? [] : [name, value]);

/** Logical ones; Infinity when it does not tell. */
export const processorsOf = async ({ virsh }: Host): Promise<number> =>
	Number(/^CPU\(s\):\s*(\d+)/m.exec(await virsh.call(["nodeinfo"]))?.[1] ?? Number.POSITIVE_INFINITY);

/** @param place options that name the kind of VM */
const processor = async (
	{ virsh }: Host,
	{ cpu, passthroughCpu }: DomainNeeds,
	virtType: string,
	place: string[],
): Promise<HostGives["cpu"]> => {
	const mode = virtType === "kvm" ? "host-model" : "maximum";
	if (passthroughCpu && mode === "maximum") return { mode, why: "only KVM gives the host's own" };
	if (cpu === null) return null;
	try {
		await withFiles([cpu], ([path]) => virsh.call(["hypervisor-cpu-compare", ...place, "--error", path]));
		return null;
	} catch (error) {
		// A libvirt that cannot tell leaves it to the start.
		const why = /incompatible|unknown cpu/i.test(causeOf(error)) ? causeOf(error) : undefined;
		return why === undefined
			? null
			: { mode, why: why.replace(/^libvirt: (the CPU is incompatible with host CPU: )?/, "") };
	}
};
