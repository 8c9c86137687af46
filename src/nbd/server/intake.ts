/** What arrives in the handshake, piece by piece as it is asked for; nothing is read ahead of that. */
import type { Channel } from "./channel.js";

/** The peer cannot be followed: the connection ends without an answer. */
export class Unfollowable extends Error {
	override readonly name = "Unfollowable";
}

export class Intake {
	#wanted: { length: number; resolve: (bytes: Buffer) => void; reject: (error: Error) => void } | undefined;

	constructor(private readonly channel: Channel) {
		channel.onArrived = () => this.#serve();
		channel.onEnd = () => this.left();
	}

	/** Nothing more will come. */
	left(): void {
		this.#wanted?.reject(new Unfollowable("the client left"));
	}

	/** The next `length` bytes, as a copy. One at a time. Rejects with Unfollowable. */
	take(length: number): Promise<Buffer> {
		return new Promise((resolve, reject) => {
			this.#wanted = { length, resolve, reject };
			this.channel.need = Math.max(1, length);
			if (!this.#serve()) return;
			if (this.channel.ended || this.channel.closed) this.left();
			else this.channel.resume();
		});
	}

	/** True when more must arrive. */
	#serve(): boolean {
		if (this.#wanted === undefined) return false;
		const { receive } = this.channel;
		const { length, resolve } = this.#wanted;
		if (receive.available < length) return true;
		this.#wanted = undefined;
		const at = receive.take(length);
		resolve(Buffer.from(receive.slab.buffer.subarray(at, at + length)));
		return false;
	}
}
