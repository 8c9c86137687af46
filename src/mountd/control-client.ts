/** The control socket's client side, used by commands. */
import { createConnection, type Socket } from "node:net";
import { onLines } from "./lines.js";
import { ControlError, type ControlMethods, type Method } from "./protocol.js";

export class ControlClient {
	private readonly waiting = new Map<number, { resolve: (v: never) => void; reject: (e: Error) => void }>();
	private next = 1;
	/** Resolves when the mount process is gone. */
	readonly closed: Promise<void>;

	private constructor(private readonly socket: Socket) {
		onLines(socket, (line) => this.receive(line));
		socket.on("error", () => socket.destroy());
		this.closed = new Promise((resolve) => {
			socket.on("close", () => {
				for (const { reject } of this.waiting.values())
					reject(
						new ControlError(
							"GONE",
							"the mount process ended before it answered; see its log under the state directory",
						),
					);
				this.waiting.clear();
				resolve();
			});
		});
	}

	/** undefined: nobody listens there. */
	static async connect(path: string): Promise<ControlClient | undefined> {
		const socket = createConnection(path);
		try {
			await new Promise<void>((resolve, reject) => {
				socket.once("connect", resolve);
				socket.once("error", reject);
			});
		} catch (error) {
			socket.destroy();
			const code = (error as { code?: string }).code;
			// Reset: it was killed with our connection still in its queue.
			if (code === "ENOENT" || code === "ECONNREFUSED" || code === "ECONNRESET") return undefined;
			if (code === "EACCES")
				throw new ControlError(
					"FORBIDDEN",
					`${path}: this mount process belongs to another user; use that account or another --state`,
				);
			throw error;
		}
		return new ControlClient(socket);
	}

	call<M extends Method>(method: M, params: ControlMethods[M]["params"]): Promise<ControlMethods[M]["result"]> {
		if (this.socket.destroyed) return Promise.reject(new ControlError("GONE", "the mount process has ended"));
		const id = this.next++;
		return new Promise((resolve, reject) => {
			this.waiting.set(id, { resolve: resolve as (v: never) => void, reject });
			this.socket.write(`${JSON.stringify({ id, method, params })}\n`);
		});
	}

	end(): void {
		this.socket.destroy();
	}

	private receive(line: string): void {
		const reply = JSON.parse(line);
		const waiter = this.waiting.get(reply.id);
		this.waiting.delete(reply.id);
		if (reply.error) waiter?.reject(new ControlError(reply.error.code, reply.error.message));
		else waiter?.resolve(reply.result as never);
	}
}
