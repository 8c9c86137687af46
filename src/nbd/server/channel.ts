/** One accepted connection as bytes: what arrives, what is to leave in one piece, its end. Plain, or TLS from a point on. */
import type { Socket } from "node:net";
import { TLSSocket, type TlsOptions } from "node:tls";
import { adopt, type Chunk, writeBatch } from "../../net/adopt.js";
import type { SlabPool } from "../../net/slabs.js";
import { Receive } from "./receive.js";

export class Channel {
	readonly receive: Receive;
	/** bytes that the consumer waits for, in one piece */
	need = 1;
	/** Bytes have arrived. False: no more of them until `resume`. */
	onArrived: () => boolean = () => false;
	/** The peer will send nothing more. */
	onEnd: () => void = () => {};
	onClose: () => void = () => {};
	ended = false;
	closed = false;
	secure = false;
	#plain: Socket;
	#tls: TLSSocket | undefined;

	/** @param accepted with `pauseOnConnect`; not to be used any more */
	constructor(accepted: Socket, pool: SlabPool) {
		this.receive = new Receive(pool);
		this.#plain = adopt(accepted, {
			room: () => this.receive.room(this.need),
			arrived: (length) => {
				this.receive.arrived(length);
				return this.onArrived();
			},
		});
		this.#watch(this.#plain);
	}

	#watch(socket: Socket): void {
		socket.on("error", () => this.destroy());
		socket.on("end", () => {
			this.ended = true;
			this.onEnd();
		});
		socket.on("close", () => {
			if (this.closed) return;
			this.closed = true;
			this.destroy();
			this.receive.close();
			this.onClose();
		});
	}

	/** Reading goes on. */
	resume(): void {
		if (!this.closed) (this.#tls ?? this.#plain).resume();
	}

	/** Hands all of it to the kernel, or to TLS; `done` may be called before this returns. */
	write(chunks: Chunk[], done: (error?: Error | null) => void): void {
		if (this.closed) done(new Error("the connection is closed"));
		else if (this.#tls === undefined) writeBatch(this.#plain, chunks, done);
		else {
			this.#tls.cork();
			for (const [index, { chunk }] of chunks.entries())
				this.#tls.write(chunk, index === chunks.length - 1 ? done : undefined);
			this.#tls.uncork();
		}
	}

	/** As `write`, for one buffer; rejects when the connection ends first. */
	send(bytes: Buffer): Promise<void> {
		return new Promise((resolve, reject) => {
			this.write([{ chunk: bytes }], (error) => (error ? reject(error) : resolve()));
		});
	}

	/** Goes on in TLS, as its server. Rejects when the peer does not manage, or shows no certificate that is wanted. */
	startTls(options: TlsOptions): Promise<void> {
		const tls = new TLSSocket(this.#plain, { ...options, isServer: true });
		this.#tls = tls;
		this.#watch(tls);
		return new Promise((resolve, reject) => {
			tls.once("close", () => reject(new Error("the connection ended in the TLS handshake")));
			tls.once("secure", () => {
				const refused =
					options.requestCert && (tls as unknown as { ssl: { verifyError(): Error | null } }).ssl.verifyError();
				if (refused) {
					this.destroy();
					reject(refused);
					return;
				}
				this.secure = true;
				tls.on("data", (bytes: Buffer) => this.#decrypted(bytes));
				resolve();
			});
		});
	}

	#decrypted(bytes: Buffer): void {
		let more = true;
		for (let at = 0; at < bytes.length; ) {
			const room = this.receive.room(this.need);
			const count = Math.min(room.length, bytes.length - at);
			bytes.copy(room, 0, at, at + count);
			this.receive.arrived(count);
			at += count;
			more = this.onArrived();
		}
		if (!more) this.#tls!.pause();
	}

	destroy(): void {
		this.#tls?.destroy();
		this.#plain.destroy();
	}
}
