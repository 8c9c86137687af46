/**
 * Master keys of encrypted repositories between supervisor and mount process, over a socket that only these two hold
 * (KEYS_FD). So a mount process that was killed can open its sessions again, and no key is on a disk, in an argument
 * or in the environment. One JSON document per line: first the supervisor's `{ID: KEY, …}`, then the mount process'
 * `{repository, master}` for each key that it is given.
 */
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { KEYS_FD } from "./config.js";
import { onLines } from "./lines.js";

/** Supervisor: hands a new mount process the keys, and remembers what that one is given. */
export function serveKeys(socket: Duplex, keys: Map<string, string>): void {
	// It was killed: the next one gets its own socket.
	socket.on("error", () => undefined);
	onLines(socket, (line) => {
		const { repository, master } = JSON.parse(line);
		keys.set(repository, master);
	});
	socket.write(`${JSON.stringify(Object.fromEntries(keys))}\n`);
}

/** Mount process: the keys that it has. */
export class KeyHolder {
	readonly #keys = new Map<string, Buffer>();

	private constructor(private readonly socket: Socket | undefined) {}

	/** Waits for what the supervisor remembers. */
	static async receive(): Promise<KeyHolder> {
		const socket = supervisorSocket();
		const holder = new KeyHolder(socket);
		if (!socket) return holder;
		socket.on("error", () => undefined);
		await new Promise<void>((resolve) => {
			socket.once("close", resolve);
			onLines(socket, (line) => {
				for (const [repository, master] of Object.entries(JSON.parse(line) as Record<string, string>))
					holder.#keys.set(repository, Buffer.from(master, "hex"));
				resolve();
			});
		});
		socket.unref();
		return holder;
	}

	get(repository: string): Buffer | undefined {
		return this.#keys.get(repository);
	}

	add({ repository, master }: { repository: string; master: string }): void {
		if (this.#keys.get(repository)?.toString("hex") === master) return;
		this.#keys.set(repository, Buffer.from(master, "hex"));
		if (this.socket?.destroyed === false) this.socket.write(`${JSON.stringify({ repository, master })}\n`);
	}
}

/** Undefined without a supervisor: then nobody remembers anything, but serving matters more. */
function supervisorSocket(): Socket | undefined {
	try {
		return new Socket({ fd: KEYS_FD, readable: true, writable: true });
	} catch {
		return undefined;
	}
}
