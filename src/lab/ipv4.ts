/** IPv4 addresses and subnets as numbers. */
import { LabError } from "./errors.js";

export interface Subnet {
	/** its first address */
	base: number;
	prefix: number;
}

/** Undefined when it is no address. */
export const parseAddress = (text: string): number | undefined => {
	const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
	if (parts === undefined || parts.some((part) => part > 255)) return undefined;
	return parts.reduce((sum, part) => sum * 256 + part, 0);
};

export const formatAddress = (address: number): string =>
	[24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");

/** @param what names it in the error (INVALID) */
export const addressOf = (text: string, what: string): number => {
	const address = parseAddress(text);
	if (address === undefined) throw new LabError("INVALID", `${what}: ${text} is no IPv4 address`);
	return address;
};

export const sizeOf = ({ prefix }: Subnet): number => 2 ** (32 - prefix);

export const subnetOf = (address: number, prefix: number): Subnet => {
	const size = 2 ** (32 - prefix);
	return { base: Math.floor(address / size) * size, prefix };
};

export const contains = (subnet: Subnet, address: number): boolean =>
	address >= subnet.base && address < subnet.base + sizeOf(subnet);

export const overlap = (a: Subnet, b: Subnet): boolean => contains(a, b.base) || contains(b, a.base);

/** "10.0.0.0/24", "default", or an address alone, as ip-route(8) prints them. */
export const parseSubnet = (text: string): Subnet | undefined => {
	if (text === "default") return { base: 0, prefix: 0 };
	const [first, prefix = "32"] = text.split("/");
	const address = parseAddress(first);
	return address === undefined || !/^\d+$/.test(prefix) || Number(prefix) > 32
		? undefined
		: subnetOf(address, Number(prefix));
};

export const formatSubnet = ({ base, prefix }: Subnet): string => `${formatAddress(base)}/${prefix}`;

/** Neither "this network", loopback, link-local, multicast nor broadcast. */
export const isGuestAddress = (address: number): boolean => {
	const first = address >>> 24;
	return first !== 0 && first !== 127 && first < 224 && address >>> 16 !== 0xa9fe;
};
