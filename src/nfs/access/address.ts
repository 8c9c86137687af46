/** Addresses and networks as bytes: parsing, IPv4-mapped forms, CIDR membership. */
import { isIP } from "node:net";

/** 4 or 16 bytes; undefined when the text is no address. IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2) becomes IPv4. */
export function parseAddress(text: string): Uint8Array | undefined {
	const bare = text.replace(/%.*$/, "");
	const family = isIP(bare);
	if (family === 4) return Uint8Array.from(bare.split("."), Number);
	if (family !== 6) return undefined;
	const bytes = parseV6(bare);
	const mapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
	return mapped ? bytes.slice(12) : bytes;
}

function parseV6(text: string): Uint8Array {
	const bytes = new Uint8Array(16);
	const [head, tail] = text.split("::");
	const left = groups(head);
	const right = tail === undefined ? [] : groups(tail);
	bytes.set(left, 0);
	bytes.set(right, 16 - right.length);
	return bytes;
}

function groups(text: string): number[] {
	if (text === "") return [];
	return text.split(":").flatMap((group) => {
		if (group.includes(".")) return group.split(".").map(Number);
		const value = Number.parseInt(group, 16);
		return [value >> 8, value & 0xff];
	});
}

/** One spelling per address, so that it can be compared and logged: `::ffff:10.0.0.1` becomes `10.0.0.1`. */
export function plainAddress(text: string): string {
	const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text);
	return mapped ? mapped[1] : text;
}

export function isLoopback(bytes: Uint8Array): boolean {
	if (bytes.length === 4) return bytes[0] === 127;
	return bytes[15] === 1 && bytes.subarray(0, 15).every((byte) => byte === 0);
}

/** True when `address` is in `network`: an address, or an address and a prefix length. Nonsense admits nobody. */
export function inNetwork(address: Uint8Array, network: string): boolean {
	const [base, prefix, ...rest] = network.split("/");
	const bytes = parseAddress(base);
	if (bytes === undefined || rest.length > 0) return false;
	let bits = bytes.length * 8;
	if (prefix !== undefined) {
		if (!/^\d{1,3}$/.test(prefix)) return false;
		// A mapped network counts its prefix from the IPv6 start.
		const mapped = bytes.length === 4 && base.includes(":");
		bits = Number(prefix) - (mapped ? 96 : 0);
	}
	if (bits < 0 || bits > bytes.length * 8 || bytes.length !== address.length) return false;
	for (let at = 0; at < bytes.length && bits > 0; at++, bits -= 8) {
		const mask = bits >= 8 ? 0xff : (0xff << (8 - bits)) & 0xff;
		if ((bytes[at] ^ address[at]) & mask) return false;
	}
	return true;
}
