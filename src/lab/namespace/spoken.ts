/** Which address each card of a lab has: what DHCP gave it, and what it has said of itself by ARP. */
import type { Names } from "../names.js";
import { run } from "../run.js";
import { readLeases } from "./dnsmasq.js";
import { SEEN, TABLE } from "./rules.js";

interface NftList {
	nftables: { set?: { elem?: NftElement[] } }[];
}

/** With a time-out each value is wrapped. */
type NftElement = { elem: { val: { concat: [string, string] } } } | { concat: [string, string] };

/** @param folder of the lab */
export const spokenOf = async (names: Names, folder: string): Promise<{ mac: string; address: string }[]> => {
	const text = await run("nsenter", [
		...[`--net=${names.namespacePath}`, "--"],
		...["nft", "-j", "list", "set", "bridge", TABLE, SEEN],
	]);
	const elements = (JSON.parse(text) as NftList).nftables.flatMap(({ set }) => set?.elem ?? []);
	const spoken = elements.map((one) => {
		const [mac, address] = "elem" in one ? one.elem.val.concat : one.concat;
		return { mac: mac.toLowerCase(), address };
	});
	return [...readLeases(folder), ...spoken];
};
