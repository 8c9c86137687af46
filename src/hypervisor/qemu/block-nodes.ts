/** Disks as nodes of QEMU's block layer. Everything that we add later has a name that begins with `springback-`. */
import { isUri } from "./definition.js";
import type { Qmp } from "./qmp.js";

/** id of the guest's device for disk number `index`, by which it is found again whatever lies under it */
export const deviceId = (index: number): string => `disk-${index}-device`;
export const OURS = "springback-";

/** Arguments of blockdev-add for one disk; the format is as defined, never probed. */
export const blockNode = (
	index: number,
	source: string,
	format: "raw" | "qcow2",
	name = `disk-${index}`,
): Record<string, unknown> => ({
	driver: format,
	"node-name": name,
	discard: "unmap",
	cache: { direct: false, "no-flush": false },
	file: protocolNode(source, `${name}-file`),
});

const protocolNode = (source: string, name: string): Record<string, unknown> => {
	const common = { "node-name": name, discard: "unmap" };
	if (!isUri(source)) return { ...common, driver: "file", filename: source };
	const url = new URL(source);
	const path = decodeURIComponent(url.pathname);
	if (url.protocol === "nfs:") return { ...common, driver: "nfs", server: { type: "inet", host: url.hostname }, path };
	// Seconds that a guest waits for a server that is started again.
	const nbd = { ...common, driver: "nbd", export: path.slice(1), "reconnect-delay": 3600 };
	return url.protocol === "nbd:"
		? { ...nbd, server: { type: "inet", host: url.hostname, port: url.port || "10809" } }
		: { ...nbd, server: { type: "unix", path: url.searchParams.get("socket") } };
};

export interface DirtyBitmap {
	name: string;
	granularity: number;
	count: number;
	recording: boolean;
	busy: boolean;
	persistent: boolean;
	inconsistent?: boolean;
}

export interface UsedNode {
	name: string;
	/** "raw", "qcow2", … */
	driver: string;
	/** as QEMU has it open */
	file: string;
	/** bytes */
	size: number;
	bitmaps: DirtyBitmap[];
}

interface BlockInfo {
	qdev?: string;
	inserted?: { "node-name"?: string };
}

interface NamedNode {
	"node-name": string;
	drv: string;
	file: string;
	image: { "virtual-size": number };
	"dirty-bitmaps"?: DirtyBitmap[];
}

/** The node that the guest's disk number `index` uses now; undefined when there is no such device. */
export const usedNode = async (qmp: Qmp, index: number): Promise<UsedNode | undefined> => {
	const blocks = await qmp.execute<BlockInfo[]>("query-block");
	const device = deviceId(index);
	const block = blocks.find(({ qdev }) => qdev?.split("/").includes(device));
	const name = block?.inserted?.["node-name"] ?? (await hasNode(qmp, `disk-${index}`));
	return name === undefined ? undefined : describeNode(qmp, name);
};

/** In a process without a guest the nodes have no devices. */
const hasNode = async (qmp: Qmp, name: string): Promise<string | undefined> =>
	(await namedNodes(qmp)).some((node) => node["node-name"] === name) ? name : undefined;

const namedNodes = (qmp: Qmp): Promise<NamedNode[]> => qmp.execute("query-named-block-nodes", { flat: true });

export const describeNode = async (qmp: Qmp, name: string): Promise<UsedNode | undefined> => {
	const nodes = await namedNodes(qmp);
	const node = nodes.find((one) => one["node-name"] === name);
	if (node === undefined) return undefined;
	return {
		name,
		driver: node.drv,
		file: node.file,
		size: node.image["virtual-size"],
		bitmaps: node["dirty-bitmaps"] ?? [],
	};
};

/** Names of all nodes that we added. */
export const ourNodes = async (qmp: Qmp): Promise<string[]> =>
	(await namedNodes(qmp)).map((node) => node["node-name"]).filter((name) => name.startsWith(OURS));
