/**
 * qemu-nbd and nbdkit's file plugin on a raw file: what one would serve a plain copy of a disk with.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { Server } from "../measure/process.js";

export interface NbdPeer {
	uri: string;
	stop(): Promise<void>;
}

const COMMANDS = {
	"qemu-nbd": (socket: string, file: string) => [
		...["qemu-nbd", "--persistent", "--shared=16", "--format=raw", `--socket=${socket}`, file],
	],
	nbdkit: (socket: string, file: string) => ["nbdkit", "--foreground", `--unix=${socket}`, "file", file],
};

/** Serves `file` on a Unix socket in `directory`, with the program's default settings. */
export async function serveFile(program: keyof typeof COMMANDS, file: string, directory: string): Promise<NbdPeer> {
	const socket = join(directory, "socket");
	const server = new Server(COMMANDS[program](socket, file), join(directory, `${program}.log`));
	await server.ready(async () => (statSync(socket, { throwIfNoEntry: false }) ? true : undefined), 10_000);
	return { uri: `nbd+unix:///?socket=${socket}`, stop: () => server.stop() };
}
