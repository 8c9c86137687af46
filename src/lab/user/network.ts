/**
 * How a card of QEMU's own restricted network is spelt for the driver `qemu`:
 * `restricted:net=10.0.0.0/24;host=10.0.0.1;dhcpstart=10.0.0.5;hostfwd=tcp:127.0.0.1:2080-10.0.0.5:80;hostfwd=…`
 */
import { formatAddress, formatSubnet } from "../ipv4.js";
import type { PlannedNetwork } from "../layout.js";

export interface Forward {
	protocol: "tcp" | "udp";
	/** port of 127.0.0.1 */
	outside: number;
	port: number;
}

/** @param address what the guest has, or gets by DHCP */
export const restrictedNetwork = (network: PlannedNetwork, address: number, forwards: Forward[]): string =>
	`restricted:${[
		`net=${formatSubnet(network.subnet)}`,
		`host=${formatAddress(network.gateway)}`,
		`dhcpstart=${formatAddress(address)}`,
		...forwards.map(
			({ protocol, outside, port }) => `hostfwd=${protocol}:127.0.0.1:${outside}-${formatAddress(address)}:${port}`,
		),
	].join(";")}`;
