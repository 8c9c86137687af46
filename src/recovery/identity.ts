/**
 * Who the recovered VM is. A VM that exists once keeps UUID and MAC addresses (leases, licences and fixed addresses go
 * on); one that would exist twice does not start, or starts as somebody else without a link.
 */
import { randomBytes, randomUUID } from "node:crypto";
import type { HostVm } from "../hypervisor/index.js";
import type { VmConfig } from "../vm/index.js";
import type { Findings } from "./findings.js";
import type { Whereabouts } from "./original.js";
import type { Replaced } from "./records.js";

export interface Wishes {
	isolated: boolean;
	replace: boolean;
	/** source network → network of the host */
	networks: Record<string, string>;
}

export interface Identity {
	config: VmConfig;
	replaced: Replaced | null;
	/** UUID and MAC addresses are those of the original */
	kept: boolean;
}

/** @param vms of the host that it is recovered to */
export const decideIdentity = (
	config: VmConfig,
	where: Whereabouts,
	wishes: Wishes,
	vms: HostVm[],
	findings: Findings,
	now: Date,
): Identity => {
	if (wishes.isolated) {
		findings.changed("identity", "new UUID and MAC addresses, cards without a link (--isolated)");
		const nics = config.nics.map((nic) => ({ ...nic, mac: freshMac(), connected: false }));
		return { config: { ...config, uuid: randomUUID(), nics }, replaced: null, kept: false };
	}
	const { found, gone, why } = where;
	const runs = found !== null && found.state !== "off";
	if (runs && !wishes.replace)
		findings.refused(
			"original",
			`${why}: two of the same would harm each other; --isolated starts this one without network, --replace powers the other off first`,
		);
	else if (found === null && !gone)
		findings.warning(
			"original",
			`whether it still runs is not known (${why}): cards start without a link; --original-gone says that it is gone`,
		);
	else findings.ok("original", why);
	const connected = found !== null || gone;
	const nics = config.nics.map((nic) => ({ ...nic, connected: nic.connected && connected }));
	const replaced = wishes.replace && found !== null ? setAside(found, now) : null;
	if (replaced !== null)
		findings.changed(
			"original",
			`${found!.name} on ${found!.host} is ${runs ? "powered off and " : ""}renamed to ${replaced.aside.name}`,
		);
	return { config: { ...config, uuid: uuidFor(config, replaced, vms, findings), nics }, replaced, kept: true };
};

const uuidFor = ({ uuid }: VmConfig, replaced: Replaced | null, vms: HostVm[], findings: Findings): string => {
	if (uuid === null) return randomUUID();
	const holder = vms.find(({ id }) => id === uuid);
	if (holder === undefined || holder.id === replaced?.id) return uuid;
	findings.changed(
		"identity",
		`a new UUID, because ${holder.name} on this host has the old one (--replace would free it)`,
	);
	return randomUUID();
};

const setAside = ({ host, name, id, state }: NonNullable<Whereabouts["found"]>, now: Date): Replaced => {
	const time = now.toISOString().slice(0, 19).replaceAll(":", "");
	return {
		...{ host, name, id, wasRunning: state !== "off" },
		aside: { name: `${name}-replaced-${time}Z`, id: randomUUID() },
	};
};

/** QEMU's range of addresses that no card was sold with. */
const freshMac = (): string => `52:54:00:${[...randomBytes(3)].map((n) => n.toString(16).padStart(2, "0")).join(":")}`;
