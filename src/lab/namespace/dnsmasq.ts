/** DHCP and DNS of a lab: a dnsmasq in its namespace, which knows nothing of this machine and asks nobody. */
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LabError } from "../errors.js";
import { formatAddress, sizeOf } from "../ipv4.js";
import type { Layout } from "../layout.js";
import type { Names } from "../names.js";
import { run } from "../run.js";

const LEASES = "leases";

/** @param folder of the lab, absolute */
export const startDnsmasq = async (names: Names, folder: string, layout: Layout): Promise<void> => {
	mkdirSync(names.hosts, { recursive: true });
	// It reads names as a user without privileges.
	for (const path of [names.run, names.hosts]) chmodSync(path, 0o755);
	const file = join(folder, "dnsmasq.conf");
	writeFileSync(file, configuration(names, folder, layout), { mode: 0o600 });
	const command = ["dnsmasq", `--conf-file=${file}`];
	try {
		// It comes back when it listens, or with what is wrong.
		await run("nsenter", [`--net=${names.namespacePath}`, "--", ...command]);
	} catch (error) {
		if (!(error instanceof LabError) || error.code !== "FAILED") throw error;
		throw new LabError("FAILED", `DHCP and DNS of the lab do not start: ${error.message}`, { cause: error });
	}
};

const configuration = (names: Names, folder: string, { networks, guests }: Layout): string => {
	const lines = [
		...["no-resolv", "no-hosts", "no-poll", "bind-dynamic", "except-interface=lo", "user=nobody"],
		...["dhcp-authoritative", "log-dhcp"],
		`log-facility=${join(folder, "dnsmasq.log")}`,
		`pid-file=${join(folder, "dnsmasq.pid")}`,
		`dhcp-leasefile=${join(folder, LEASES)}`,
		`hostsdir=${names.hosts}`,
	];
	for (const [n, { subnet, gateway, range, names: known }] of networks.entries()) {
		const mask = formatAddress(2 ** 32 - sizeOf(subnet));
		lines.push(
			`interface=${names.bridge(n)}`,
			`dhcp-range=set:n${n},${range.map(formatAddress).join(",")},${mask},12h`,
			`dhcp-option=tag:n${n},option:router,${formatAddress(gateway)}`,
			`dhcp-option=tag:n${n},option:dns-server,${formatAddress(gateway)}`,
		);
		for (const [name, address] of Object.entries(known)) lines.push(`host-record=${name},${address}`);
	}
	for (const { nics } of guests)
		for (const { mac, address } of nics)
			if (address !== undefined) lines.push(`dhcp-host=${mac},${formatAddress(address)}`);
	return `${lines.join("\n")}\n`;
};

/** A guest's name as DNS has it: what a host name cannot hold becomes "-". */
const dnsName = (name: string): string =>
	name
		.toLowerCase()
		.replace(/[^a-z0-9.-]+/g, "-")
		.replace(/^[.-]+|[.-]+$/g, "");

/** From now on DNS answers with these; dnsmasq watches the folder. */
export const tellNames = (names: Names, guests: Map<string, string[]>): void => {
	const lines = [...guests].flatMap(([name, addresses]) => {
		const host = dnsName(name);
		return host === "" ? [] : addresses.map((address) => `${address} ${host}\n`);
	});
	// It passes over names that begin with a dot.
	const temporary = join(names.hosts, ".guests");
	writeFileSync(temporary, lines.join(""), { mode: 0o644 });
	chmodSync(temporary, 0o644);
	renameSync(temporary, join(names.hosts, "guests"));
};

/** Addresses that were given out, with the card's MAC address. */
export const readLeases = (folder: string): { mac: string; address: string }[] => {
	let text: string;
	try {
		text = readFileSync(join(folder, LEASES), "utf8");
	} catch {
		// None yet.
		return [];
	}
	return text.split("\n").flatMap((line) => {
		const [expiry, mac, address] = line.split(" ");
		return /^\d+$/.test(expiry) && address !== undefined ? [{ mac: mac.toLowerCase(), address }] : [];
	});
};
