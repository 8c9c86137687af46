/** Starts real NBD servers for tests, on private Unix sockets. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";

export interface Server {
	uri: string;
	directory: string;
	child: ChildProcess;
}

async function start(t: Test, command: string, args: (socket: string) => string[]): Promise<Server> {
	const directory = mkdtempSync(join(tmpdir(), "springback-test-nbd-"));
	const socket = join(directory, "s");
	const child = spawn(command, args(socket), { stdio: ["ignore", "ignore", "pipe"] });
	let words = "";
	child.stderr!.on("data", (bytes) => {
		words += bytes;
	});
	const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
	t.teardown(async () => {
		if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
		await ended;
		rmSync(directory, { recursive: true, force: true });
	});
	for (let i = 0; i < 500 && !(await listens(socket)); i++) {
		if (child.exitCode !== null) throw new Error(`${command}: ${words}`);
		await new Promise((resolve) => setTimeout(resolve, 10));
	}
	return { uri: `nbd+unix:///?socket=${socket}`, directory, child };
}

/** A socket exists before its server listens on it. */
const listens = (path: string): Promise<boolean> =>
	new Promise((resolve) => {
		const socket = connect(path, () => resolve(true));
		socket.once("error", () => resolve(false));
		socket.once("connect", () => socket.destroy());
	});

/** e.g. nbdkit(t, "memory", "64T") */
export const nbdkit = (t: Test, ...args: string[]): Promise<Server> =>
	start(t, "nbdkit", (socket) => ["--foreground", "--exit-with-parent", "--unix", socket, ...args]);

export const qemuNbd = (t: Test, ...args: string[]): Promise<Server> =>
	start(t, "qemu-nbd", (socket) => ["--persistent", "--shared=8", "--socket", socket, ...args]);
