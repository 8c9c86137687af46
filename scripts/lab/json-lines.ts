/**
 * One request at a time as a line of JSON over a Unix socket: what QEMU's monitor (QMP) and its guest agent both speak.
 */
import { createConnection, type Socket } from "node:net";

export type Json = Record<string, unknown>;

interface Waiter {
	resolve(reply: Json): void;
	reject(cause: Error): void;
}

export class JsonLines {
	#socket: Socket;
	#rest = "";
	#waiters: Waiter[] = [];
	#ended: Error | undefined;
	readonly #onOther: (line: Json) => void;

	private constructor(socket: Socket, onOther: (line: Json) => void) {
		this.#socket = socket;
		this.#onOther = onOther;
		socket.setEncoding("utf8");
		socket.on("data", (text: string) => this.#take(text));
		socket.on("error", (cause) => this.#end(cause));
		socket.on("close", () => this.#end(new Error("connection closed")));
	}

	/** `onOther` gets every line that answers nothing: greetings and events. */
	static connect(path: string, onOther: (line: Json) => void = () => {}): Promise<JsonLines> {
		return new Promise((resolve, reject) => {
			const socket = createConnection(path);
			socket.once("error", reject);
			socket.once("connect", () => {
				socket.off("error", reject);
				resolve(new JsonLines(socket, onOther));
			});
		});
	}

	/** Sends a line and waits for the next `return` or `error`. Fails when the peer reports an error or goes away. */
	request(message: Json): Promise<unknown> {
		return new Promise((resolve, reject) => {
			if (this.#ended) return reject(this.#ended);
			this.#waiters.push({
				reject,
				resolve: (reply) => {
					const error = reply.error as { desc?: string } | undefined;
					if (error) reject(new Error(`${message.execute}: ${error.desc ?? JSON.stringify(error)}`));
					else resolve(reply.return);
				},
			});
			this.#socket.write(`${JSON.stringify(message)}\n`);
		});
	}

	close(): void {
		this.#socket.destroy();
	}

	#take(text: string): void {
		const lines = (this.#rest + text).split("\n");
		this.#rest = lines.pop() ?? "";
		for (const line of lines) {
			// The agent starts a reply to guest-sync-delimited with a 0xFF byte, which is no UTF-8.
			const clean = line.replace(/^\uFFFD/, "").trim();
			if (clean === "") continue;
			const message = JSON.parse(clean) as Json;
			if ("return" in message || "error" in message) this.#waiters.shift()?.resolve(message);
			else this.#onOther(message);
		}
	}

	#end(cause: Error): void {
		this.#ended ??= cause;
		for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#ended);
	}
}
