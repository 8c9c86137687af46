/**
 * Cards in a lab (src/lab). `lab:NAMESPACE/BRIDGE`: QEMU runs in that network namespace, and each card has a tap device
 * on the bridge there; the devices go with the namespace. `restricted:KEY=VALUE;…`: QEMU's own network without a way
 * out, with the ports that are forwarded.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { promisify } from "node:util";
import type { Nic } from "../../vm/index.js";
import type { RegisterRequest } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { isUri } from "./definition.js";
import { findProgram } from "./start-process.js";
import type { Vm } from "./vm.js";

const run = promisify(execFile);

const placeOf = (network: string | null): { namespace: string; bridge: string } | undefined => {
	const [, namespace, bridge] = /^lab:([\w-]{1,64})\/([\w-]{1,15})$/.exec(network ?? "") ?? [];
	return namespace === undefined ? undefined : { namespace, bridge };
};

/** Of a card's tap device: at most 15 bytes, and the same each time. */
const tapName = (uuid: string, index: number): string =>
	`tap${createHash("sha256").update(`${uuid} ${index}`).digest("hex").slice(0, 10)}`;

/** Undefined for networks of other kinds. */
export const labNetdev = (uuid: string, index: number, network: string): object | undefined => {
	if (placeOf(network) !== undefined)
		return { type: "tap", ifname: tapName(uuid, index), script: "no", downscript: "no" };
	if (!network.startsWith("restricted:")) return undefined;
	const pairs = network
		.slice("restricted:".length)
		.split(";")
		.map((pair) => pair.split("="));
	const values = (key: string) =>
		pairs.flatMap(([name, value]) => (name === key && value !== undefined ? [value] : []));
	const single = ["net", "host", "dhcpstart"].flatMap((key) => values(key).map((value) => [key, value]));
	return {
		type: "user",
		restrict: true,
		ipv6: false,
		...Object.fromEntries(single),
		hostfwd: values("hostfwd").map((str) => ({ str })),
	};
};

/** The lab in which this VM's process must run; undefined: in none. */
const labOf = (nics: Nic[]): string | undefined => {
	const all = new Set(nics.flatMap(({ connected, network }) => (connected ? (placeOf(network)?.namespace ?? []) : [])));
	if (all.size > 1) throw new HypervisorError("INVALID", `cards of one VM are in two labs: ${[...all].join(", ")}`);
	return [...all][0];
};

/** Throws UNSUPPORTED: from within a lab no server of this machine is reached but over a UNIX socket. */
export const checkLabDisks = ({ disks }: RegisterRequest, nics: Nic[]): void => {
	const lab = labOf(nics);
	const far = lab === undefined ? undefined : disks.find(({ source }) => isUri(source) && !/^nbd\+unix:/.test(source));
	if (far !== undefined)
		throw new HypervisorError(
			"UNSUPPORTED",
			`disk ${far.name}: ${far.source} is out of reach in lab ${lab}: serve it over a UNIX socket (nbd+unix://)`,
		);
};

/** Makes the tap devices of a VM that is off; resolves with the command that runs its QEMU in its lab, empty for others. */
export const enterLab = async ({ name, definition: { config } }: Vm): Promise<string[]> => {
	const namespace = labOf(config.nics);
	if (namespace === undefined) return [];
	const [ip, nsenter] = [program("ip", "iproute2"), program("nsenter", "util-linux")];
	for (const [index, { connected, network }] of config.nics.entries()) {
		const place = connected ? placeOf(network) : undefined;
		if (place === undefined) continue;
		const tap = tapName(config.uuid!, index);
		try {
			// From an earlier start.
			await run(ip, ["-n", namespace, "link", "del", tap]).catch(() => {});
			await run(ip, ["-n", namespace, "tuntap", "add", "dev", tap, "mode", "tap"]);
			await run(ip, ["-n", namespace, "link", "set", tap, "master", place.bridge, "up"]);
		} catch (error) {
			const words = (error as { stderr?: string }).stderr ?? "";
			throw new HypervisorError(
				"FAILED",
				`VM ${name}: no card in lab ${namespace}: ${causeOf(words.trim() === "" ? error : words)}`,
			);
		}
	}
	return [nsenter, `--net=/run/netns/${namespace}`, "--"];
};

const program = (name: string, debianPackage: string): string => {
	const path = findProgram([name]);
	if (path === undefined)
		throw new HypervisorError("UNSUPPORTED", `${name} is not installed (package ${debianPackage})`);
	return path;
};
