/** One connection from its beginning to its end: handshake, transmission, and what bounds both. */
import type { Socket } from "node:net";
import type { SlabPool } from "../../net/slabs.js";
import { Channel } from "./channel.js";
import { type Chosen, type HandshakeOptions, ServerHandshake } from "./handshake.js";
import type { Limits, Totals } from "./limits.js";
import { Transmission } from "./transmission.js";

export interface ConnectionOptions<Peer> extends HandshakeOptions<Peer> {
	pool: SlabPool;
	limits: Limits;
	totals: Totals;
	/** ms until the transmission phase */
	handshakeTimeout: number;
	onClosed: () => void;
}

export class Connection<Peer> {
	readonly #channel: Channel;
	readonly #options: ConnectionOptions<Peer>;
	#transmission: Transmission | undefined;
	#chosen: Chosen | undefined;

	/** @param accepted with `pauseOnConnect`; not to be used any more */
	constructor(accepted: Socket, options: ConnectionOptions<Peer>) {
		this.#options = options;
		this.#channel = new Channel(accepted, options.pool);
		void this.#run(new ServerHandshake(this.#channel, options));
	}

	/** Never rejects. */
	async #run(handshake: ServerHandshake<Peer>): Promise<void> {
		const { log, handshakeTimeout, onClosed } = this.#options;
		const channel = this.#channel;
		const late = setTimeout(() => {
			log("closed: it did not choose an export in time");
			channel.destroy();
		}, handshakeTimeout);
		channel.onClose = () => {
			clearTimeout(late);
			handshake.left();
			this.#transmission?.closed();
			this.#chosen?.exported.release?.();
			onClosed();
		};
		try {
			const chosen = await handshake.run();
			clearTimeout(late);
			if (chosen) this.#transmit(chosen);
			else channel.destroy();
		} catch (error) {
			if (!channel.closed && !channel.ended) log(`closed: ${(error as Error).message}`);
			channel.destroy();
		}
	}

	#transmit(chosen: Chosen): void {
		const channel = this.#channel;
		if (channel.closed) {
			chosen.exported.release?.();
			return;
		}
		const { pool, limits, totals, log } = this.#options;
		this.#chosen = chosen;
		this.#transmission = new Transmission({ channel, chosen, pool, limits, totals, log });
		this.#transmission.start();
	}

	/** Called from time to time: ends a connection that stalls. */
	check(now: number): void {
		const why = this.#transmission?.stalled(now);
		if (why === undefined) return;
		this.#options.log(`closed: ${why}`);
		this.#channel.destroy();
	}

	/** Answers what is in flight, then closes. */
	end(): void {
		if (this.#transmission) this.#transmission.end();
		else this.#channel.destroy();
	}

	destroy(): void {
		this.#channel.destroy();
	}
}
