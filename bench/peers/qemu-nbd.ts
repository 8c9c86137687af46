/**
 * qemu-nbd on a zstd-compressed qcow2 with an overlay: what one would publish a compressed backup with by other means.
 */
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { Server } from "../measure/process.js";

export class QemuNbd {
	readonly #base: string;
	readonly #overlay: string;

	/** @param directory where its files are */
	constructor(readonly directory: string) {
		this.#base = join(directory, "base.qcow2");
		this.#overlay = join(directory, "overlay.qcow2");
	}

	/** The compressed copy of a raw image (64 KiB clusters, QEMU's default), and an empty overlay on it. */
	make(image: string): void {
		const zstd = ["-c", "-o", "compression_type=zstd"];
		must("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", ...zstd, image, this.#base]);
		must("qemu-img", ["create", "-q", "-f", "qcow2", "-b", this.#base, "-F", "qcow2", this.#overlay]);
	}

	/** Serves the overlay on a socket, with qemu-nbd's default settings. */
	async serve(): Promise<{ uri: string; stop(): Promise<void> }> {
		const socket = join(this.directory, "socket");
		const command = ["qemu-nbd", "--persistent", "--format=qcow2", `--socket=${socket}`, this.#overlay];
		const server = new Server(command, join(this.directory, "qemu-nbd.log"));
		const there = async () => (statSync(socket, { throwIfNoEntry: false }) ? true : undefined);
		await server.ready(there, 10_000);
		return { uri: `nbd+unix:///?socket=${socket}`, stop: () => server.stop() };
	}
}

function must(program: string, args: string[]): void {
	const { status, error, stderr } = spawnSync(program, args, { encoding: "utf8" });
	if (status !== 0) throw new Error(`${program} ${args[0]} failed: ${error?.message ?? stderr.trim()}`);
}
