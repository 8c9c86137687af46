/** The VM that a restore point is of: is it there, and does it run? Found by its UUID or the addresses of its cards. */
import type { HostVm, PowerState } from "../hypervisor/index.js";
import type { VmConfig } from "../vm/index.js";
import { causeOf } from "./errors.js";
import type { NamedHost } from "./world.js";

export interface Original {
	host: string;
	id: string;
	name: string;
	state: PowerState;
	/** what told */
	by: "UUID" | "MAC address";
	/** of a recovery of ours: its session */
	session: string | null;
}

export interface Whereabouts {
	/** one that runs before one that does not */
	found: Original | null;
	/** nothing found, and sure of it */
	gone: boolean;
	/** one sentence */
	why: string;
}

/** @param home the host that it was backed up from; undefined: not known. @param said a person says that it is gone */
export const lookForOriginal = async (
	config: VmConfig,
	home: string | undefined,
	hosts: NamedHost[],
	said: boolean,
): Promise<Whereabouts> => {
	const found: Original[] = [];
	const silent: string[] = [];
	for (const named of hosts) {
		try {
			found.push(...(await originalsOn(named, config)));
		} catch (error) {
			silent.push(`${named.name} (${causeOf(error)})`);
		}
	}
	const [best] = [...found.filter(({ state }) => state !== "off"), ...found];
	if (best !== undefined)
		return {
			found: best,
			gone: false,
			why: `${best.name} on ${best.host} has the same ${best.by} and is ${best.state}`,
		};
	const none = (gone: boolean, why: string): Whereabouts => ({ found: null, gone, why });
	if (said) return none(true, "it is gone, as you say");
	if (silent.length > 0) return none(false, `not every host could be asked: ${silent.join(", ")}`);
	if (home === undefined) return none(false, "the restore point does not say on which host it ran");
	if (!hosts.some(({ name }) => name === home))
		return none(false, `its host ${home} is not known here (springback hosts add)`);
	return none(true, `it is on none of the hosts (${hosts.map(({ name }) => name).join(", ")})`);
};

const originalsOn = async (named: NamedHost, config: VmConfig): Promise<Original[]> => {
	const host = await named.open();
	const macs = new Set(config.nics.flatMap(({ mac }) => mac ?? []));
	const originals: Original[] = [];
	const add = ({ id, name, state, session }: HostVm, by: Original["by"]) =>
		originals.push({ host: named.name, id, name, state, session, by });
	for (const vm of await host.list()) {
		if (vm.problem !== null) continue;
		if (vm.id === config.uuid) add(vm, "UUID");
		else if (macs.size > 0) {
			const { nics } = (await host.readConfig(vm.id)).config;
			if (nics.some(({ mac }) => mac !== null && macs.has(mac))) add(vm, "MAC address");
		}
	}
	return originals;
};
