/** A TCP connection to a guest: bounded reads, and an end with the attempt that says what was being waited for. */
import { connect as connectTcp, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import type { LabPort } from "../../lab/contract.js";
import { type TestContext, TestFailure } from "./contract.js";
import { oneLine } from "./text.js";

/** What an answer may have, in bytes, unless a caller says otherwise. */
const LIMIT_BYTES = 64 * 1024;

export class Wire {
	#socket: Socket;
	#data = Buffer.alloc(0);
	#ended = false;
	#failure: TestFailure | undefined;
	#wake: (() => void) | undefined;
	#waiting: string;
	readonly #where: string;
	readonly #signal: AbortSignal;
	readonly #stop: () => void;
	/** ms that the connection took */
	connectedMs = 0;

	private constructor(socket: Socket, where: string, signal: AbortSignal) {
		this.#socket = socket;
		this.#where = where;
		this.#signal = signal;
		this.#waiting = "does not answer";
		this.#stop = () => this.#fail(new TestFailure(`${where} ${this.#waiting}`));
		signal.addEventListener("abort", this.#stop, { once: true });
		this.#listen();
	}

	/** Rejects with TestFailure: "port 5432 refuses connections". The caller closes it. */
	static async open(context: TestContext, port: LabPort): Promise<Wire> {
		const endpoint = await context.endpoint(port);
		const where = `port ${port.port}`;
		const began = performance.now();
		const wire = new Wire(connectTcp(endpoint), where, context.signal);
		if (context.signal.aborted) wire.#stop();
		try {
			await wire.#until(() => wire.#socket.readyState === "open" || wire.#socket.bytesRead > 0 || wire.#ended);
			wire.#socket.setNoDelay(true);
		} catch (error) {
			wire.close();
			throw error;
		}
		wire.connectedMs = performance.now() - began;
		return wire;
	}

	/** Goes on over TLS. Rejects with TestFailure. What `options` refuse ends in the message. */
	async secure(options: ConnectionOptions): Promise<TLSSocket> {
		this.#waiting = "does not finish the TLS handshake";
		this.#socket.removeAllListeners("data");
		const plainSocket = this.#socket;
		const socket = connectTls({ ...options, socket: plainSocket });
		this.#socket = socket;
		this.#data = Buffer.alloc(0);
		let secured = false;
		socket.once("secureConnect", () => {
			secured = true;
			this.#wake?.();
		});
		this.#listen("TLS: ");
		await this.#until(() => secured || this.#ended);
		if (!secured) throw new TestFailure(`${this.#where} ends the connection in the TLS handshake`);
		return socket;
	}

	write(data: Buffer | string): void {
		this.#socket.write(data);
	}

	/**
	 * Waits until `enough` finds what it looks for in all that came and was not taken. `what` completes "port 25 …" when
	 * nothing came in time: "sends no greeting". Rejects with TestFailure at the end of the stream and at `limit` bytes.
	 */
	async read<T>(what: string, enough: (data: Buffer) => T | undefined, limit = LIMIT_BYTES): Promise<T> {
		this.#waiting = what;
		let found: T | undefined;
		let closed = false;
		await this.#until(() => {
			found = enough(this.#data);
			if (found !== undefined) return true;
			if (this.#data.length >= limit) throw new TestFailure(`${this.#where} answers with more than ${limit} bytes`);
			closed = this.#ended;
			return closed;
		});
		if (found === undefined)
			throw new TestFailure(
				`${this.#where} ${this.#data.length === 0 ? what : "breaks off its answer"} and closes the connection`,
			);
		return found;
	}

	/** As `read`, and takes exactly so many bytes. */
	async take(count: number, what: string, limit = LIMIT_BYTES): Promise<Buffer> {
		if (count > limit) throw new TestFailure(`${this.#where} announces an answer of ${count} bytes`);
		const bytes = await this.read(
			what,
			(data) => (data.length >= count ? data.subarray(0, count) : undefined),
			count + 1,
		);
		this.drop(count);
		return bytes;
	}

	drop(count: number): void {
		this.#data = this.#data.subarray(count);
	}

	get pending(): Buffer {
		return this.#data;
	}

	/** Harmless when repeated. */
	close(): void {
		this.#signal.removeEventListener("abort", this.#stop);
		this.#socket.destroy();
	}

	#listen(prefix = ""): void {
		const socket = this.#socket;
		socket.on("data", (piece: Buffer) => {
			this.#data = Buffer.concat([this.#data, piece]);
			// What nobody asks for is not gathered without end.
			if (this.#data.length > 2 * LIMIT_BYTES) socket.pause();
			this.#wake?.();
		});
		socket.on("connect", () => this.#wake?.());
		socket.on("error", (error: NodeJS.ErrnoException) =>
			this.#fail(new TestFailure(`${this.#where} ${inWords(error, prefix)}`)),
		);
		for (const event of ["end", "close"])
			socket.on(event, () => {
				this.#ended = true;
				this.#wake?.();
			});
	}

	#fail(failure: TestFailure): void {
		this.#failure ??= failure;
		this.#socket.destroy();
		this.#wake?.();
	}

	async #until(done: () => boolean): Promise<void> {
		for (;;) {
			if (this.#failure !== undefined) throw this.#failure;
			this.#socket.resume();
			if (done()) return;
			await new Promise<void>((resolve) => {
				this.#wake = resolve;
			});
			this.#wake = undefined;
		}
	}
}

const CONNECTING: Readonly<Record<string, string>> = {
	ECONNREFUSED: "refuses connections",
	ECONNRESET: "resets the connection",
	EPIPE: "resets the connection",
	ETIMEDOUT: "does not answer",
	EHOSTUNREACH: "is not reached: no route to the guest",
	ENETUNREACH: "is not reached: no route to the guest",
};

/** What a connection's error says of a port: completes "port 80 …". */
export const inWords = (error: NodeJS.ErrnoException, prefix = ""): string =>
	CONNECTING[error.code ?? ""] ?? `${prefix === "" ? "cannot be used: " : prefix}${oneLine(error.message)}`;
