/**
 * A published restore point over NBD beside qemu-nbd and nbdkit on the plain raw file: the same content, the same client,
 * in alternation. Our side reads a deduplicated LZ4 repository through the overlay.
 */
import { copyFileSync, constants as fsConstants } from "node:fs";
import { join } from "node:path";
import { IMAGE_SIZE, images } from "../data/image.js";
import { settle, warm } from "../data/page-cache.js";
import { freshDirectory, requireSpace } from "../data/places.js";
import { inOrder, Series } from "../measure/pairs.js";
import { nbdCopy, nbdLoad } from "../peers/nbd-clients.js";
import { type NbdPeer, serveFile } from "../peers/nbd-servers.js";
import type { Load } from "../peers/nfs-clients.js";
import { Springback } from "../peers/springback.js";
import type { Outcome, Scenario, Settings } from "./scenario.js";

const OURS = "springback";
const PEERS = ["qemu-nbd", "nbdkit"] as const;
const VM = "bench";
const KIB = 1024;
const MIB = 2 ** 20;
/** Fits our default cache of 512 MiB whole, so that "warm" means the same on all sides. */
const SPAN = 256 * MIB;

export const nbd: Scenario = {
	name: "nbd",
	summary: "reads of a published restore point over NBD beside qemu-nbd and nbdkit on the plain file",
	pairs: 5,
	quickPairs: 1,
	programs: ["qemu-nbd", "nbdkit", "libnbd"],
	run: measure,
};

const read = (size: number, depth: number, pattern: Load["pattern"]): Load => ({
	...{ op: "read", size, depth, pattern, span: SPAN },
});

const CASES: { name: string; load: Load; unit: "1/s" | "MB/s" }[] = [
	{ name: "4 KiB random read, depth 1", load: read(4 * KIB, 1, "random"), unit: "1/s" },
	{ name: "4 KiB random read, depth 32", load: read(4 * KIB, 32, "random"), unit: "1/s" },
	{ name: "64 KiB random read, depth 16", load: read(64 * KIB, 16, "random"), unit: "1/s" },
	{ name: "1 MiB sequential read, depth 8", load: read(MIB, 8, "seq"), unit: "MB/s" },
];
const COPY = "nbdcopy of all of the disk into nothing";

interface Side extends NbdPeer {
	name: string;
}

async function measure(settings: Settings): Promise<Outcome> {
	const source = images(settings.say);
	requireSpace(4 * IMAGE_SIZE);
	const ours = new Springback(freshDirectory("ours"));
	await ours.init();
	settings.say("backing up the image");
	await ours.backup(VM, source.base);
	const plain = join(freshDirectory("plain"), "disk.raw");
	copyFileSync(source.base, plain, fsConstants.COPYFILE_FICLONE);

	const rates = CASES.map(({ name, unit }) => new Series(name, unit, "higher"));
	const tails = CASES.map(({ name }) => new Series(name, "µs", "lower"));
	const copies = new Series(COPY, "s", "lower");
	for (let pair = 0; pair < settings.pairs; pair++) {
		await settings.noise.listen();
		warm(ours.repository);
		warm(plain);
		settle();
		const sides: Side[] = [];
		try {
			sides.push(await publish(ours));
			for (const name of PEERS) sides.push({ name, ...(await serveFile(name, plain, freshDirectory(name))) });
			for (const { uri } of sides) await nbdLoad(uri, { ...read(MIB, 8, "seq"), count: SPAN / MIB });
			for (const [index, { name, load, unit }] of CASES.entries()) {
				for (const side of inOrder(sides, pair)) {
					const { bytes, seconds, opsPerSec, p99us } = await nbdLoad(side.uri, load, settings.quick ? 1 : 3);
					rates[index].add(side.name, unit === "MB/s" ? bytes / seconds / 1e6 : opsPerSec);
					tails[index].add(side.name, p99us);
				}
				settings.say(`pair ${pair + 1}/${settings.pairs}: ${name}`);
			}
			for (const side of inOrder(sides, pair)) copies.add(side.name, await nbdCopy(side.uri));
			settings.say(`pair ${pair + 1}/${settings.pairs}: ${COPY}`);
		} finally {
			for (const side of sides) await side.stop();
		}
	}
	return {
		conditions: [
			"springback serves a restore point of the 1 GiB image (deduplicated, LZ4) through a new session's overlay, with its default settings (512 MiB of cache); qemu-nbd and nbdkit (file plugin) serve a raw copy of the same image with theirs. Same disk, same file system, all over Unix sockets.",
			`One client (bench/nbdload.c on libnbd), one connection, ${settings.quick ? 1 : 3} s a load; nbdcopy opens as many connections as it wants. Client and server share the machine's cores.`,
			`Warm: the repository and the raw file are in the page cache, and the first ${SPAN / MIB} MiB, which all loads keep to, were read once through each server. nbdcopy reads all of the disk, twice our cache.`,
		],
		tables: PEERS.flatMap((peer) => [
			{ title: `Rates, beside ${peer}`, sides: [OURS, peer], series: [...rates, copies] },
			{ title: `Latency, p99 of one request, beside ${peer}`, sides: [OURS, peer], series: tails },
		]),
		remarks: ["libnbd takes structured replies, so our side sends zeros as holes; the others send them as data."],
	};
}

async function publish(ours: Springback): Promise<Side> {
	const published = await ours.publish(VM, { portmap: false });
	return { name: OURS, uri: published.ready.nbd[0].uris[0], stop: () => published.stop() };
}
