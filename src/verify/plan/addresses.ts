/** IPv4 networks: "192.168.7.1/24". */
import { isIPv4 } from "node:net";

interface Network {
	/** first address, as a number */
	first: number;
	addresses: number;
}

const numberOf = (address: string): number => address.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);

/** Undefined when it is no address with a prefix of 8 to 30 bits. */
export const networkOf = (text: string): Network | undefined => {
	const [address, bits] = text.split("/");
	const prefix = Number(bits);
	if (!isIPv4(address) || !(prefix >= 8 && prefix <= 30)) return undefined;
	const addresses = 2 ** (32 - prefix);
	return { first: numberOf(address) - (numberOf(address) % addresses), addresses };
};

export const inNetwork = (address: string, { first, addresses }: Network): boolean => {
	const distance = numberOf(address) - first;
	return distance >= 0 && distance < addresses;
};
