/** Requests and answers, a line of JSON each, on a UNIX socket: what QMP and the guest agent have in common. */
import { connect, type Socket } from "node:net";
import { causeOf, HypervisorError } from "../errors.js";

/** QEMU's replies are small; a longer line means that something else answers. */
const MAX_LINE = 16 * 1024 * 1024;

interface Waiting {
	resolve(value: unknown): void;
	reject(error: Error): void;
	timer: NodeJS.Timeout;
}

interface Message {
	return?: unknown;
	error?: { class?: string; desc?: string };
	id?: number;
	QMP?: unknown;
}

/** A command that QEMU refused; `message` is QEMU's own. */
export class QmpError extends Error {
	constructor(
		/** "GenericError", "CommandNotFound", "DeviceNotFound", … */
		readonly kind: string,
		message: string,
	) {
		super(message);
	}
}

/** Lines of JSON on a socket: requests by id, one at a time for the greeting. Also what the guest agent speaks. */
export class JsonSocket {
	#text = "";
	#ended: Error | undefined;
	readonly #waiting = new Map<number, Waiting>();
	#next = 1;
	/** everything before the answer that is this number is of others */
	#sync: (Waiting & { number: number }) | undefined;
	/** what comes without an id */
	onOther: (message: Message) => void = () => {};
	/** nothing will come any more; `heard` is false when what came is not what QEMU says */
	onEnd: (why: Error, heard: boolean) => void = () => {};

	private constructor(
		private readonly socket: Socket,
		private readonly path: string,
	) {
		socket.setEncoding("utf8");
		socket.on("data", (piece: string) => this.#receive(piece));
		socket.on("error", (error) => this.#end(error));
		socket.on("close", () => this.#end(new Error("it hung up")));
	}

	/** Rejects with the system's error when nobody listens. */
	static connect(path: string): Promise<JsonSocket> {
		return new Promise((resolve, reject) => {
			const socket = connect(path);
			socket.once("error", reject);
			socket.once("connect", () => {
				socket.off("error", reject);
				resolve(new JsonSocket(socket, path));
			});
		});
	}

	request(execute: string, args: object, ms: number, id = true): Promise<unknown> {
		return new Promise((resolve, reject) => {
			if (this.#ended !== undefined) return reject(this.#ended);
			const number = this.#next++;
			const timer = setTimeout(() => {
				this.#waiting.delete(number);
				reject(new HypervisorError("TIMEOUT", `${this.path}: no answer to ${execute} within ${ms} ms`));
			}, ms);
			this.#waiting.set(number, { resolve, reject, timer });
			this.socket.write(`${JSON.stringify({ execute, arguments: args, ...(id ? { id: number } : {}) })}\n`);
		});
	}

	/** Asks to be answered with `number`, and drops whatever comes before that. */
	sync(execute: string, number: number, ms: number): Promise<unknown> {
		return new Promise((resolve, reject) => {
			if (this.#ended !== undefined) return reject(this.#ended);
			const timer = setTimeout(
				() => reject(new HypervisorError("TIMEOUT", `${this.path}: no answer to ${execute} within ${ms} ms`)),
				ms,
			);
			this.#sync = { number, resolve, reject, timer };
			this.send(execute, { id: number });
		});
	}

	/** Waits for nothing. */
	send(execute: string, args: object = {}): void {
		if (this.#ended === undefined) this.socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
	}

	close(): void {
		this.#end(new Error("closed"));
		this.socket.destroy();
	}

	#end(error: Error, heard = true): void {
		this.#ended ??= new HypervisorError("UNREACHABLE", `${this.path}: ${causeOf(error)}`);
		for (const { reject, timer } of [...this.#waiting.values(), ...(this.#sync ? [this.#sync] : [])]) {
			clearTimeout(timer);
			reject(this.#ended);
		}
		this.#waiting.clear();
		this.onEnd(this.#ended, heard);
	}

	#receive(piece: string): void {
		this.#text += piece;
		for (let at = this.#text.indexOf("\n"); at >= 0; at = this.#text.indexOf("\n")) {
			const line = this.#text.slice(0, at).trim();
			this.#text = this.#text.slice(at + 1);
			if (line !== "") this.#answer(line);
		}
		if (this.#text.length > MAX_LINE) this.#end(new Error("it talks too much"), false);
	}

	#answer(line: string): void {
		let message: Message;
		try {
			message = JSON.parse(line);
		} catch {
			if (this.#sync === undefined) this.#end(new Error("it answered with something that is not JSON"), false);
			return;
		}
		if (this.#sync !== undefined) {
			if (message.return !== this.#sync.number) return;
			clearTimeout(this.#sync.timer);
			this.#sync.resolve(message.return);
			this.#sync = undefined;
			return;
		}
		// The agent echoes no ids: its answers come in order.
		const id =
			message.id ?? ("return" in message || "error" in message ? this.#waiting.keys().next().value : undefined);
		const waiting = id === undefined ? undefined : this.#waiting.get(id);
		if (id === undefined || waiting === undefined) {
			this.onOther(message);
			return;
		}
		this.#waiting.delete(id);
		clearTimeout(waiting.timer);
		if (message.error === undefined) {
			waiting.resolve(message.return);
			return;
		}
		const { class: kind = "GenericError", desc = "no reason given" } = message.error;
		waiting.reject(new QmpError(kind, desc.split("\n")[0].slice(0, 500)));
	}
}
