/** Makes a lab's namespace: bridges with our addresses, rules, the tester's way in, DHCP and DNS. */
import { formatAddress } from "../ipv4.js";
import type { Layout } from "../layout.js";
import type { Names } from "../names.js";
import { run } from "../run.js";
import { startDnsmasq } from "./dnsmasq.js";
import { makeHostBridges } from "./host-bridge.js";
import { GATEWAYS, labRules, TABLE, type TesterLink } from "./rules.js";
import { makeTesterLink } from "./tester-link.js";

/**
 * Before anything is up. Guests with addresses of any network are answered, bridged frames are not filtered as routed
 * ones, and there is no IPv6 of ours. A setting that the kernel does not have is passed over.
 */
const SETTINGS: readonly (readonly [string, string])[] = [
	...["all", "default"].flatMap((kind) => [
		[`ipv6/conf/${kind}/disable_ipv6`, "1"] as const,
		[`ipv4/conf/${kind}/rp_filter`, "0"] as const,
		// Only for addresses of the network that was asked in.
		[`ipv4/conf/${kind}/arp_ignore`, "1"] as const,
		[`ipv4/conf/${kind}/arp_announce`, "0"] as const,
		// Another of our addresses in the same network stays when the first is given up.
		[`ipv4/conf/${kind}/promote_secondaries`, "1"] as const,
		[`ipv4/conf/${kind}/send_redirects`, "0"] as const,
		[`ipv4/conf/${kind}/accept_redirects`, "0"] as const,
	]),
	["bridge/bridge-nf-call-iptables", "0"],
	["bridge/bridge-nf-call-ip6tables", "0"],
	["bridge/bridge-nf-call-arptables", "0"],
	["ipv4/ip_forward", "1"],
];

/** @param folder of the lab, absolute */
export const makeNamespace = async (
	names: Names,
	id: string,
	folder: string,
	layout: Layout,
	host: "qemu" | "libvirt",
): Promise<TesterLink> => {
	const { namespace } = names;
	await run("ip", ["netns", "add", namespace]);
	await inside(
		names,
		SETTINGS.map(([file, value]) => `[ ! -e /proc/sys/net/${file} ] || echo ${value} >/proc/sys/net/${file}`),
	);
	const bridges = layout.networks.map((_, n) => names.bridge(n));
	const lines = layout.networks.flatMap(({ gateway, subnet }, n) => [
		`link add ${bridges[n]} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
		`link set ${bridges[n]} up`,
		`addr add ${formatAddress(gateway)}/${subnet.prefix} dev ${bridges[n]}`,
	]);
	await run("ip", ["-n", namespace, "-batch", "-"], `link set lo up\n${lines.join("\n")}\n`);
	const link = await makeTesterLink(names, id);
	const ours = layout.networks.map(({ gateway }, n) => `"${bridges[n]}" . ${formatAddress(gateway)}`);
	const elements = ours.length === 0 ? "" : `add element inet ${TABLE} ${GATEWAYS} { ${ours.join(", ")} }\n`;
	await nft(names, labRules(names, bridges, link) + elements);
	if (host === "libvirt") await makeHostBridges(names, layout);
	await startDnsmasq(names, folder, layout);
	return link;
};

const inside = (names: Names, commands: string[]): Promise<string> =>
	run("nsenter", [`--net=${names.namespacePath}`, "--", "sh", "-e"], `${commands.join("\n")}\n`);

/** Rules of the namespace: `nft -f` with this, all or nothing. */
export const nft = (names: Names, rules: string): Promise<string> =>
	run("nsenter", [`--net=${names.namespacePath}`, "--", "nft", "-f", "-"], rules);
