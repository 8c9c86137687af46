/** What portmap tells: which program and version answers where. */
import { isIP } from "node:net";

export interface Registration {
	program: number;
	version: number;
	/** RFC 5665: "tcp", "udp", "tcp6", "udp6" */
	netid: string;
	port: number;
}

/** netids that a listener on `address` serves; the IPv6 wildcard takes IPv4 as well. */
export function netids(transport: "tcp" | "udp", address: string): string[] {
	if (isIP(address) === 4) return [transport];
	return /^[0:]+$/.test(address) ? [transport, `${transport}6`] : [`${transport}6`];
}

/** Universal address (RFC 5665 section 5.2.3.3): the port as two more numbers. */
export const universalAddress = (address: string, port: number): string => `${address}.${port >> 8}.${port & 0xff}`;

export class Registry {
	readonly all: readonly Registration[];

	constructor(all: readonly Registration[]) {
		this.all = all;
	}

	/** With `anyVersion`, another version of the program will do: it answers PROG_MISMATCH itself. */
	find(program: number, version: number, netid: string, anyVersion: boolean): Registration | undefined {
		const candidates = this.all.filter((entry) => entry.program === program && entry.netid === netid);
		return candidates.find((entry) => entry.version === version) ?? (anyVersion ? candidates[0] : undefined);
	}
}
