/** The connection's socket: hands received bytes to one consumer, and its end, whatever the reason, to one place. */
import { Socket, type SocketConstructorOpts } from "node:net";
import type { NbdAddress } from "../uri.js";

/** One read(2) at most; the kernel's socket buffers decide how much really comes at once. */
const RECEIVE_BYTES = 1024 * 1024;

export class Wire {
	/** Called with bytes that are only valid during the call. */
	onBytes: (bytes: Buffer) => void = () => {};
	/** Called once, when the connection has ended; `error` says why in words. */
	onEnd: (why: string) => void = () => {};
	private ended = false;

	private constructor(private readonly socket: Socket) {}

	/** Rejects with an Error of one line when the connection cannot be made within `timeoutMs`. */
	static connect(address: NbdAddress, timeoutMs: number): Promise<Wire> {
		return new Promise((resolve, reject) => {
			// The receive buffer is reused: no allocation per read.
			const onread = {
				buffer: Buffer.allocUnsafeSlow(RECEIVE_BYTES),
				callback(count: number, buffer: Uint8Array): boolean {
					wire.onBytes(buffer.subarray(0, count) as Buffer);
					return true;
				},
			};
			const socket = new Socket({ onread } as SocketConstructorOpts);
			const wire = new Wire(socket);
			const timer = setTimeout(() => wire.end(`no connection within ${timeoutMs} ms`), timeoutMs);
			wire.onEnd = (why) => {
				clearTimeout(timer);
				reject(new Error(`${address.text}: ${why}`));
			};
			if (address.socket !== undefined) socket.connect({ path: address.socket });
			else socket.connect({ host: address.host!, port: address.port!, noDelay: true, keepAlive: true });
			socket.once("connect", () => {
				clearTimeout(timer);
				resolve(wire);
			});
			socket.once("error", (error: NodeJS.ErrnoException) => wire.end(error.message || (error.code ?? "error")));
			socket.once("end", () => wire.end("the server closed the connection"));
			socket.once("close", () => wire.end("the connection was closed"));
		});
	}

	send(...parts: Buffer[]): void {
		if (this.ended) return;
		this.socket.cork();
		for (const part of parts) this.socket.write(part);
		this.socket.uncork();
	}

	/** Ends the connection at once; `onEnd` is called with `why` if it had not ended yet. */
	end(why: string): void {
		if (this.ended) return;
		this.ended = true;
		this.socket.destroy();
		this.onEnd(why);
	}

	/** Sends what is queued, then ends. */
	finish(last: Buffer): void {
		if (this.ended) return;
		this.ended = true;
		this.socket.end(last);
		// A server that never closes its side must not keep the process alive.
		this.socket.unref();
		this.onEnd("the image is closed");
	}
}
