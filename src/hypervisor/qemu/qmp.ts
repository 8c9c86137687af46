/** QMP over a UNIX socket (docs/interop/qmp-spec.txt of QEMU). One client at a time: connections are kept short. */
import { connect, type Socket } from "node:net";
import { causeOf, HypervisorError } from "../errors.js";

/** QEMU's replies are small; a longer line means that something else answers. */
const MAX_LINE = 16 * 1024 * 1024;
const CONNECT_MS = 10_000;
const COMMAND_MS = 60_000;
/** sun_path of unix(7) holds 108 bytes with the final zero. */
export const SOCKET_PATH_MAX = 107;

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

	#end(error: Error): void {
		this.#ended ??= new HypervisorError("UNREACHABLE", `${this.path}: ${causeOf(error)}`);
		for (const { reject, timer } of [...this.#waiting.values(), ...(this.#sync ? [this.#sync] : [])]) {
			clearTimeout(timer);
			reject(this.#ended);
		}
		this.#waiting.clear();
	}

	#receive(piece: string): void {
		this.#text += piece;
		for (let at = this.#text.indexOf("\n"); at >= 0; at = this.#text.indexOf("\n")) {
			const line = this.#text.slice(0, at).trim();
			this.#text = this.#text.slice(at + 1);
			if (line !== "") this.#answer(line);
		}
		if (this.#text.length > MAX_LINE) this.#end(new Error("it talks too much"));
	}

	#answer(line: string): void {
		let message: Message;
		try {
			message = JSON.parse(line);
		} catch {
			if (this.#sync === undefined) this.#end(new Error("it answered with something that is not JSON"));
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
		if (id === undefined || waiting === undefined) return this.onOther(message);
		this.#waiting.delete(id);
		clearTimeout(waiting.timer);
		if (message.error === undefined) return waiting.resolve(message.return);
		const { class: kind = "GenericError", desc = "no reason given" } = message.error;
		waiting.reject(new QmpError(kind, desc.split("\n")[0].slice(0, 500)));
	}
}

export class Qmp {
	private constructor(private readonly socket: JsonSocket) {}

	/** Undefined when no QEMU listens there. Rejects with BUSY when another client keeps it. */
	static async connect(path: string): Promise<Qmp | undefined> {
		if (Buffer.byteLength(path) > SOCKET_PATH_MAX)
			throw new HypervisorError(
				"INVALID",
				`${path}: a socket's path has ${SOCKET_PATH_MAX} bytes at most: use a shorter folder`,
			);
		let socket: JsonSocket;
		try {
			socket = await JsonSocket.connect(path);
		} catch (error) {
			const { code } = error as { code?: string };
			// A QEMU that was killed leaves its socket.
			if (code === "ENOENT" || code === "ECONNREFUSED") return undefined;
			const denied = code === "EACCES" || code === "EPERM";
			throw new HypervisorError(
				denied ? "DENIED" : "UNREACHABLE",
				`${path}: ${denied ? "permission denied: run as the owner of the VM, or as root" : causeOf(error)}`,
			);
		}
		try {
			await greeting(socket, path);
			const qmp = new Qmp(socket);
			await qmp.execute("qmp_capabilities");
			return qmp;
		} catch (error) {
			socket.close();
			throw error;
		}
	}

	/** Rejects with QmpError, or HypervisorError TIMEOUT or UNREACHABLE. */
	execute<T = unknown>(command: string, args: object = {}, ms = COMMAND_MS): Promise<T> {
		return this.socket.request(command, args, ms) as Promise<T>;
	}

	close(): void {
		this.socket.close();
	}
}

const greeting = (socket: JsonSocket, path: string): Promise<void> =>
	new Promise((resolve, reject) => {
		const busy = () =>
			reject(
				new HypervisorError("BUSY", `${path}: QEMU does not answer: another program keeps its monitor, or it hangs`),
			);
		const timer = setTimeout(busy, CONNECT_MS);
		socket.onOther = (message) => {
			if (message.QMP === undefined) return;
			clearTimeout(timer);
			socket.onOther = () => {};
			resolve();
		};
	});
