/**
 * The way from this machine into a lab: a pair of network devices, and a /24 of 198.18.0.0/15 that only this lab has.
 *
 * The kernel is the judge of who has which /24: of two processes that add a route for the same one, one gets EEXIST. It
 * is free again when the device is gone, whatever became of the process.
 */
import { writeFileSync } from "node:fs";
import { LabError } from "../errors.js";
import { formatAddress, formatSubnet, overlap, parseSubnet, type Subnet, subnetOf } from "../ipv4.js";
import type { Names } from "../names.js";
import { run } from "../run.js";
import type { TesterLink } from "./rules.js";

const POOL: Subnet = { base: 0xc6120000, prefix: 15 };
const SIZE = 256;
const COUNT = 512;

/** @param id spreads labs over the pool, so that few try the same */
export const makeTesterLink = async (names: Names, id: string): Promise<TesterLink> => {
	const { link, innerLink, namespace } = names;
	await run("ip", ["link", "add", link, "type", "veth", "peer", "name", innerLink, "netns", namespace]);
	quiet(link);
	await run("ip", ["link", "set", link, "up"]);
	await run("ip", ["-n", namespace, "link", "set", innerLink, "up"]);
	const found = await claim(link, Number.parseInt(id, 16) % COUNT);
	const [tester, inner] = [formatAddress(found.tester), formatAddress(found.inner)];
	const subnet = formatSubnet(subnetOf(found.base, 24));
	await run("ip", ["addr", "add", `${tester}/32`, "dev", link]);
	await run("ip", ["route", "replace", subnet, "via", inner, "dev", link, "onlink", "src", tester]);
	await run(
		"ip",
		["-n", namespace, "-batch", "-"],
		`addr add ${inner}/32 dev ${innerLink}\nroute add ${tester}/32 dev ${innerLink} src ${inner}\n`,
	);
	return found;
};

/** A device of the host that must not begin to speak by itself. */
export const quiet = (device: string): void => {
	try {
		writeFileSync(`/proc/sys/net/ipv6/conf/${device}/disable_ipv6`, "1");
	} catch (error) {
		// A kernel without IPv6.
		if ((error as NodeJS.ErrnoException).code !== "ENOENT")
			throw new LabError("DENIED", `${device}: IPv6 cannot be switched off: ${(error as Error).message}`);
	}
};

const claim = async (link: string, start: number): Promise<TesterLink> => {
	const used = await usedSubnets();
	for (let n = 0; n < COUNT; n++) {
		const base = POOL.base + ((start + n) % COUNT) * SIZE;
		const subnet = subnetOf(base, 24);
		if (used.some((one) => overlap(one, subnet))) continue;
		const route = [formatSubnet(subnet), "via", formatAddress(base + 2), "dev", link, "onlink"];
		try {
			await run("ip", ["route", "add", ...route]);
			return { base, tester: base + 1, inner: base + 2 };
		} catch (error) {
			// Another lab was quicker.
			if (!/File exists/.test((error as Error).message)) throw error;
		}
	}
	throw new LabError(
		"FAILED",
		`all of ${formatSubnet(POOL)} is routed elsewhere or in use by labs: close some, or free a /24 of it`,
	);
};

const usedSubnets = async (): Promise<Subnet[]> => {
	const text = await run("ip", ["-4", "-j", "route", "show", "table", "all"]);
	return (JSON.parse(text || "[]") as { dst: string }[])
		.map(({ dst }) => parseSubnet(dst))
		.filter((subnet): subnet is Subnet => subnet !== undefined && subnet.prefix >= POOL.prefix);
};
