/**
 * A lab: networks without a way out, in which guests keep the addresses and MAC addresses they have in production, and in
 * which a tester reaches each of them. Two labs with the same addresses may run at once.
 */

export interface LabNetwork {
	/** as the source calls it; "" is that of cards whose network is not known */
	name: string;
	/** our address in it with prefix length ("192.168.7.1/24"): what guests know as their gateway; chosen when left out */
	gateway?: string;
	/** first and last address for guests that ask by DHCP; default: the upper half of the network */
	range?: [string, string];
	/** name → address, besides the guests' own names: what DNS in the lab answers; nothing else has an answer */
	names?: Record<string, string>;
}

export interface LabGuest {
	/** unique in the lab; also its name in DNS */
	name: string;
	nics: { mac: string; network: string }[];
	/** known addresses, by MAC: also what DHCP hands out for it */
	addresses?: Record<string, string>;
	/** what the tester will ask for: where there is no namespace only these can be reached */
	ports: LabPort[];
}

export interface LabPort {
	protocol: "tcp" | "udp";
	port: number;
}

export interface LabRequest {
	/** 8 hex digits: names everything that is made */
	id: string;
	/** of ours; notes about what was made are kept there, for `cleanLabs` */
	directory: string;
	/** what the driver of the host can attach cards to */
	host: "qemu" | "libvirt";
	networks: LabNetwork[];
	guests: LabGuest[];
	/** default: "namespace" for root, else "user" (QEMU's own network with restrict=on and forwarded ports; `qemu` only) */
	mode?: LabMode;
}

export type LabMode = "namespace" | "user";

/** Where the tester reaches a port of a guest, from this machine's own network. */
export interface Endpoint {
	host: string;
	port: number;
}

export interface Lab {
	readonly id: string;
	readonly mode: LabMode;
	/** For `RegisterRequest.networks` of this guest: the source's network → what the driver is to attach the card to. */
	networks(guest: string): Record<string, string>;
	/** Addresses that the guest has shown inside so far (leases, ARP, `learn`), as the guest knows them. */
	addresses(guest: string): Promise<string[]>;
	/** An address that somebody else (the agent) knows of. */
	learn(guest: string, address: string): void;
	/** Where the whole guest is reached (masquerade); undefined: no address is known yet, or mode "user". */
	reach(guest: string): Promise<string | undefined>;
	/** Where one port of it is reached; undefined: no address is known yet, or not forwarded. */
	endpoint(guest: string, port: LabPort): Promise<Endpoint | undefined>;
	/** Takes everything away. Guests must be off. Harmless when repeated. */
	close(): Promise<void>;
}
