/** What `hosts add` tries before it saves a host of this type. */

import { all, attribute, first, parseXml } from "../../vm/index.js";
import type { HostCheck } from "../contract.js";
import { causeOf, type HypervisorError } from "../errors.js";
import type { Host } from "./domain.js";
import { listVms } from "./list.js";

/** Checkpoints, and backup modes for each disk, without a switch; 9.0 is what it was tried with. */
const OLDEST = [8, 0] as const;

export const checkHost = async (host: Host): Promise<HostCheck[]> => {
	const connection = await connectionCheck(host);
	if (connection.some(({ ok }) => !ok)) return connection;
	return [...connection, await backupCheck(host), rootCheck(host), await vmsCheck(host)];
};

const connectionCheck = async ({ virsh }: Host): Promise<HostCheck[]> => {
	const what = "libvirt";
	try {
		const words = await virsh.call(["version", "--daemon"], { ms: 30_000 });
		const daemon = /Running against daemon: (\d+)\.(\d+)/.exec(words);
		const qemu = /Running hypervisor: (.*)/.exec(words)?.[1] ?? "no QEMU";
		if (daemon === null) return [{ what, ok: false, message: `${virsh.uri} does not tell its version` }];
		const [major, minor] = [Number(daemon[1]), Number(daemon[2])];
		const ok = major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
		const message = `libvirt ${major}.${minor} with ${qemu}${ok ? "" : `: version ${OLDEST.join(".")} or later is needed`}`;
		return [{ what, ok, message }];
	} catch (error) {
		return [
			{ what, ok: false, message: `${virsh.uri}: ${causeOf(error)}${REMEDIES[(error as HypervisorError).code] ?? ""}` },
		];
	}
};

const REMEDIES: Readonly<Record<string, string>> = {
	UNREACHABLE: ": is libvirtd (or virtqemud) running there, and is the URI right?",
	DENIED: ": run springback as root, or as a user whom libvirt lets manage VMs",
};

const backupCheck = async ({ virsh }: Host): Promise<HostCheck> => {
	const what = "backup";
	const xml = await virsh.bytes(["domcapabilities"]).catch(() => Buffer.from("<domainCapabilities/>"));
	const features = first(parseXml(xml, "domainCapabilities", "capabilities"), "features");
	const ok = all(features, "backup").some((one) => attribute(one, "supported") === "yes");
	return {
		what,
		ok,
		message: ok
			? "QEMU there can back up a VM that runs"
			: "QEMU there cannot back up a VM that runs: version 5.2 or later is needed",
	};
};

const rootCheck = ({ uri }: Host): HostCheck => {
	const what = "disks";
	if (!uri.local)
		return {
			what,
			ok: true,
			message: "this host is far away: its VMs are listed and run; backups and moves are made by springback on it",
		};
	const ok = uri.session || process.getuid!() === 0;
	return {
		what,
		ok,
		message: ok
			? "sockets can be shared with QEMU's user"
			: "run springback as root: it shares sockets with QEMU's user",
	};
};

const vmsCheck = async (host: Host): Promise<HostCheck> => {
	const vms = await listVms(host);
	const problems = vms.flatMap(({ name, problem }) => (problem === null ? [] : [`${name}: ${problem}`]));
	return {
		what: "vms",
		ok: true,
		message: [`${vms.length} ${vms.length === 1 ? "VM" : "VMs"}`, ...problems].join("; "),
	};
};
