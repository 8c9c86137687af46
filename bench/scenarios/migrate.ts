/**
 * The way home beside qemu-img convert: a disk of a recovered VM moves to a local qcow2 file while the guest writes to
 * another disk, and the same disk of the same session is converted into one.
 */
import { mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writerDisk } from "../../scripts/lab/writer.js";
import { QemuHost } from "../../src/hypervisor/qemu/host.js";
import { IMAGE_SIZE, images } from "../data/image.js";
import { settle, warm } from "../data/page-cache.js";
import { freshDirectory, requireSpace } from "../data/places.js";
import { inOrder, Series } from "../measure/pairs.js";
import { run } from "../measure/process.js";
import type { Outcome, Scenario, Settings } from "./scenario.js";

const OURS = "springback migrate";
const PEER = "qemu-img convert";
const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const MIB = 2 ** 20;

export const migrate: Scenario = {
	name: "migrate",
	summary: "the disk of a running VM moves to local storage, beside qemu-img convert of the same session",
	pairs: 5,
	quickPairs: 1,
	programs: ["qemu-img"],
	run: measure,
};

interface Recovered {
	session: string;
	id: string;
}

interface Migrated {
	verified: boolean;
	disks: { disk: string; copySeconds: number; pausedMs: number }[];
}

async function measure(settings: Settings): Promise<Outcome> {
	const source = images(settings.say);
	requireSpace(4 * IMAGE_SIZE);
	const directory = freshDirectory("migrate");
	const [repository, state, vms, storage] = ["repository", "state", "vms", "storage"].map((name) =>
		join(directory, name),
	);
	for (const folder of [vms, storage]) mkdirSync(folder);
	const cli = async <T>(...args: string[]): Promise<T> => {
		const places = ["--repo", repository, "--state", state, "--quiet", "--json"];
		return JSON.parse((await run([process.execPath, MAIN, ...args, ...places])).stdout) as T;
	};
	await cli("init");
	await cli("hosts", "add", "bench", "qemu", `qemu://${vms}`);
	writerDisk(join(directory, "writer.raw"), 4 * MIB);
	settings.say("backing up the image");
	await cli("backup", "bench", "--disk", join(directory, "writer.raw"), "--disk", source.base);

	const host = new QemuHost(`qemu://${vms}`);
	const seconds = new Series("1 GiB image, from a session to a local qcow2 file", "s", "lower", 0.9);
	const pauses = new Series("the guest stands still", "ms", "lower");
	for (let pair = 0; pair < settings.pairs; pair++) {
		await settings.noise.listen();
		warm(repository);
		settle();
		const session = `pair-${pair}`;
		const vm = await cli<Recovered>(
			...["recover", "bench", "--host", "bench", "--session", session, "--name", session],
			...["--original-gone", "--power-off", "--nfs-port", "0", "--mount-port", "0", "--no-portmap"],
		);
		await host.power(vm.id, "on");
		const sides: Record<string, () => Promise<number>> = {
			[OURS]: async () => {
				const { verified, disks } = await cli<Migrated>("migrate", session, "--to", storage);
				const moved = disks.find(({ disk }) => disk === "disk1")!;
				if (!verified) throw new Error("the migration was not proven");
				pauses.add(OURS, moved.pausedMs);
				return moved.copySeconds;
			},
			[PEER]: async () => {
				const target = join(storage, "converted.qcow2");
				const uri = `nbd+unix:///${session}/disk1?socket=${join(state, "mountd-127.0.0.1.nbd")}`;
				// As the migration does: through the page cache, and synced at the end.
				const command = ["qemu-img", "convert", "-t", "writeback", "-f", "raw", "-O", "qcow2", uri, target];
				const timed = await run(command);
				rmSync(target);
				return timed.seconds;
			},
		};
		for (const side of inOrder([OURS, PEER], pair)) {
			seconds.add(side, await sides[side]());
			settings.say(`pair ${pair + 1}/${settings.pairs}: ${side} ${seconds.of(side).at(-1)} s`);
		}
		const written = statSync(join(storage, `${session}-disk1.qcow2`)).blocks * 512;
		await host.power(vm.id, "off");
		await cli("finish", session);
		await host.unregister(vm.id);
		for (const disk of ["disk0", "disk1"]) rmSync(join(storage, `${session}-${disk}.qcow2`));
		if (written < 0.5 * IMAGE_SIZE) settings.say(`only ${written} bytes are in the new file`);
	}
	return {
		conditions: [
			"A VM with two disks is recovered to a host of type qemu. A small guest boots from the first, which it writes to all the time; the second holds the 1 GiB image. Both sides read the second from the same session over NBD and write a qcow2 file on the same file system, through the page cache, synced at the end.",
			"Our time is from the start of the copy until the disk changes over; the comparison of both places, which follows while the guest runs, is not in it. That of qemu-img is the whole program.",
			"The repository is in the page cache; the mount process has its default cache of 512 MiB.",
		],
		tables: [
			{ title: "Copy", sides: [OURS, PEER], series: [seconds] },
			{ title: "Change-over", sides: [OURS], series: [pauses], rivals: false },
		],
		remarks: [
			"The ratio is of speeds: 1 means as fast as qemu-img convert. Every migration was compared and found the same.",
		],
	};
}
