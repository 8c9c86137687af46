/** A request as it is carried out: checked, with an address of ours and a DHCP range in each network. */
import type { LabNetwork, LabRequest } from "./contract.js";
import { LabError } from "./errors.js";
import {
	addressOf,
	contains,
	formatAddress,
	formatSubnet,
	isGuestAddress,
	overlap,
	parseAddress,
	type Subnet,
	sizeOf,
	subnetOf,
} from "./ipv4.js";
import { ID } from "./names.js";

export interface PlannedNetwork {
	name: string;
	subnet: Subnet;
	/** false: nothing was said of it, and guests with fixed addresses are in another */
	known: boolean;
	gateway: number;
	range: [number, number];
	names: Record<string, string>;
}

export interface PlannedNic {
	/** lower case, with colons */
	mac: string;
	/** place in `networks` */
	network: number;
	/** what the request says that it has */
	address: number | undefined;
}

export interface PlannedGuest {
	name: string;
	nics: PlannedNic[];
}

export interface Layout {
	networks: PlannedNetwork[];
	guests: PlannedGuest[];
}

/** Where nothing is said about a network, number n of a lab is 10.213.n.0/24. */
const UNSAID: Subnet = { base: 0x0ad50000, prefix: 16 };
const MAX_NETWORKS = 16;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

/** Throws INVALID. */
export const layoutOf = (request: LabRequest): Layout => {
	if (!ID.test(request.id)) throw new LabError("INVALID", `lab ${request.id}: an id has 8 hexadecimal digits`);
	if (request.networks.length > MAX_NETWORKS)
		throw new LabError("INVALID", `lab ${request.id}: at most ${MAX_NETWORKS} networks`);
	const guests = guestsOf(request);
	const networks = request.networks.map((network, n) => plan(network, n, declaredIn(guests, n)));
	for (const [n, one] of networks.entries()) {
		if (request.networks.findIndex(({ name }) => name === one.name) !== n)
			throw new LabError("INVALID", `network "${one.name}" is named twice`);
		const other = networks.slice(0, n).find(({ subnet }) => overlap(subnet, one.subnet));
		if (other !== undefined)
			throw new LabError(
				"INVALID",
				`networks "${other.name}" and "${one.name}" share addresses (${formatSubnet(other.subnet)}, ${formatSubnet(one.subnet)}): put them into labs of their own`,
			);
	}
	return { networks, guests };
};

const guestsOf = ({ id, networks, guests }: LabRequest): PlannedGuest[] => {
	const macs = new Map<string, string>();
	const taken = new Map<number, string>();
	const known = new Set<string>();
	return guests.map(({ name, nics, addresses = {} }) => {
		if (known.has(name)) throw new LabError("INVALID", `lab ${id}: two guests are called ${name}`);
		known.add(name);
		const declared = new Map(Object.entries(addresses).map(([mac, address]) => [macOf(mac, name), address]));
		const planned = nics.map((nic) => {
			const mac = macOf(nic.mac, name);
			const other = macs.get(mac);
			if (other !== undefined) throw new LabError("INVALID", `guests ${other} and ${name} both have a card ${mac}`);
			macs.set(mac, name);
			const network = networks.findIndex((one) => one.name === nic.network);
			if (network < 0)
				throw new LabError("INVALID", `guest ${name}: its network "${nic.network}" is not one of the lab's`);
			const text = declared.get(mac);
			const address = text === undefined ? undefined : addressOf(text, `guest ${name}, ${mac}`);
			if (address !== undefined) {
				if (!isGuestAddress(address)) throw new LabError("INVALID", `guest ${name}: ${text} cannot be its address`);
				const owner = taken.get(address);
				if (owner !== undefined) throw new LabError("INVALID", `guests ${owner} and ${name} both have ${text}`);
				taken.set(address, name);
			}
			return { mac, network, address };
		});
		const strange = [...declared.keys()].find((mac) => !planned.some((nic) => nic.mac === mac));
		if (strange !== undefined) throw new LabError("INVALID", `guest ${name} has no card ${strange}`);
		return { name, nics: planned };
	});
};

const macOf = (text: string, guest: string): string => {
	const mac = text.toLowerCase().replaceAll("-", ":");
	if (!MAC.test(mac)) throw new LabError("INVALID", `guest ${guest}: "${text}" is no MAC address`);
	return mac;
};

const declaredIn = (guests: PlannedGuest[], network: number): number[] =>
	guests
		.flatMap(({ nics }) => nics)
		.flatMap((nic) => (nic.network === network && nic.address !== undefined ? [nic.address] : []));

const plan = (network: LabNetwork, n: number, declared: number[]): PlannedNetwork => {
	const { subnet, gateway } =
		network.gateway === undefined ? choose(n, declared) : given(network.name, network.gateway);
	if (declared.includes(gateway))
		throw new LabError(
			"INVALID",
			`network "${network.name}": the gateway ${formatAddress(gateway)} is a guest's address, too: name another gateway`,
		);
	const range = rangeOf(network, subnet);
	for (const [name, address] of Object.entries(network.names ?? {})) {
		if (!/^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$/.test(name))
			throw new LabError("INVALID", `network "${network.name}": "${name}" is no name for DNS`);
		addressOf(address, `network "${network.name}", name ${name}`);
	}
	const known = network.gateway !== undefined || declared.length > 0;
	return { name: network.name, subnet, known, gateway, range, names: network.names ?? {} };
};

/** The /24 of a guest whose address is known, and in it an address that no such guest has; ours otherwise. */
const choose = (n: number, declared: number[]): { subnet: Subnet; gateway: number } => {
	const subnet = declared.length === 0 ? subnetOf(UNSAID.base + n * 256, 24) : subnetOf(declared[0], 24);
	const free = [1, 254, ...Array.from({ length: 252 }, (_, index) => 253 - index)].find(
		(host) => !declared.includes(subnet.base + host),
	);
	if (free === undefined) throw new LabError("INVALID", `${formatSubnet(subnet)} has no address left for a gateway`);
	return { subnet, gateway: subnet.base + free };
};

const given = (name: string, text: string): { subnet: Subnet; gateway: number } => {
	const [first, prefix = ""] = text.split("/");
	const gateway = parseAddress(first);
	const bits = Number(prefix);
	if (gateway === undefined || !/^\d{1,2}$/.test(prefix) || bits < 8 || bits > 30 || !isGuestAddress(gateway))
		throw new LabError(
			"INVALID",
			`network "${name}": gateway ${text} is not of the form 192.168.7.1/24 (a prefix of 8 to 30 bits)`,
		);
	const subnet = subnetOf(gateway, bits);
	if (gateway === subnet.base || gateway === subnet.base + sizeOf(subnet) - 1)
		throw new LabError("INVALID", `network "${name}": ${text} is the network itself or its broadcast address`);
	return { subnet, gateway };
};

const rangeOf = ({ name, range }: LabNetwork, subnet: Subnet): [number, number] => {
	const size = sizeOf(subnet);
	if (range === undefined) return [subnet.base + size / 2, subnet.base + size - 2];
	const [first, last] = range.map((text) => addressOf(text, `network "${name}", range`));
	if (first > last || !contains(subnet, first) || !contains(subnet, last))
		throw new LabError("INVALID", `network "${name}": ${range.join(" to ")} is no range in ${formatSubnet(subnet)}`);
	return [first, last];
};
