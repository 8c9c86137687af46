/**
 * nftables rules inside of a lab's namespace. Nothing that a guest begins goes further than DHCP and DNS of the lab; what
 * the tester begins reaches guests, and only its answers come back.
 */
import { formatAddress } from "../ipv4.js";
import type { Names } from "../names.js";

/** Where lab and tester meet, both of 198.18.0.0/15 (RFC 2544, section C.2.2: for tests, routed nowhere). */
export interface TesterLink {
	/** first address of the /24 of this lab */
	base: number;
	/** ours, outside */
	tester: number;
	/** the lab's */
	inner: number;
}

export const TABLE = "lab";
/** bridge table: which card has spoken of which address as its own, by ARP */
export const SEEN = "seen";
/** inet table: interface and address of ours, address outside → guest, guest → our address in its network */
export const GATEWAYS = "gateways";
export const INWARD = "inward";
export const SOURCES = "sources";

/** For `nft -f`. */
export const labRules = ({ innerLink }: Names, bridges: string[], { tester }: TesterLink): string => {
	const guests = '"br*"';
	return `
table inet ${TABLE} {
	set ${GATEWAYS} {
		type ifname . ipv4_addr
	}
	map ${INWARD} {
		type ipv4_addr : ipv4_addr
	}
	map ${SOURCES} {
		type ipv4_addr : ipv4_addr
	}
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "${innerLink}" ip saddr ${formatAddress(tester)} dnat ip to ip daddr map @${INWARD}
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		oifname ${guests} ip saddr ${formatAddress(tester)} snat ip to ip daddr map @${SOURCES}
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		iifname "${innerLink}" oifname ${guests} ip saddr ${formatAddress(tester)} ct status dnat accept
		iifname ${guests} oifname "${innerLink}" ct state established,related ct direction reply ct status dnat accept
${bridges.map((bridge) => `\t\tiifname "${bridge}" oifname "${bridge}" accept`).join("\n")}
	}
	chain input {
		type filter hook input priority filter; policy drop;
		iifname ${guests} udp sport 68 udp dport 67 accept
		iifname ${guests} iifname . ip daddr @${GATEWAYS} udp dport 53 accept
		iifname ${guests} iifname . ip daddr @${GATEWAYS} tcp dport 53 accept
		iifname ${guests} icmp type echo-reply ct state established accept
	}
	chain output {
		type filter hook output priority filter; policy drop;
		oifname ${guests} udp sport { 53, 67 } accept
		oifname ${guests} tcp sport 53 accept
		oifname ${guests} icmp type echo-request accept
		oifname "${innerLink}" ct state related accept
	}
}
table bridge ${TABLE} {
	set ${SEEN} {
		type ether_addr . ipv4_addr
		size 4096
		flags dynamic,timeout
		timeout 1h
	}
	chain prerouting {
		type filter hook prerouting priority -300; policy accept;
		arp operation { request, reply } arp saddr ip != 0.0.0.0 update @${SEEN} { arp saddr ether . arp saddr ip }
	}
}
table arp ${TABLE} {
	chain input {
		type filter hook input priority filter; policy accept;
		iifname ${guests} arp operation request arp saddr ip 0.0.0.0 drop
	}
}
`;
};
