/**
 * An NFS client that behaves as kernels and libnfs do when their server goes away: it connects again and sends every
 * call that was not answered once more, with the same XID.
 */
import { connect, type Socket } from "node:net";
import { decodeReply, encodeCall, type Fields, mark } from "../../nfs/raw-client.js";

const NFS = 100003;
const RECONNECT_MS = 10;

interface Call {
	bytes: Buffer;
	answer: (body: Fields) => void;
	refuse: (error: Error) => void;
}

export class RetryingClient {
	/** in order of their first sending */
	readonly #calls = new Map<number, Call>();
	#socket: Socket | undefined;
	#received = Buffer.alloc(0);
	#xid: number;
	#wanted = true;
	#down: (() => void)[] = [];
	/** how often it connected */
	connections = 0;
	/** how many calls were sent again */
	resent = 0;

	constructor(
		public port: number,
		firstXid: number,
	) {
		this.#xid = firstXid;
		this.#connect();
	}

	/** The result of an NFSv3 procedure, status first. Waits for as long as it takes. `again` is its XID and bytes. */
	call(procedure: number, args: Buffer): { xid: number; bytes: Buffer; reply: Promise<Fields> } {
		const xid = this.#xid++ >>> 0;
		const bytes = mark(encodeCall(NFS, 3, procedure, args, { xid }));
		return { xid, bytes, reply: this.send(xid, bytes) };
	}

	/** Sends an encoded call, perhaps one that was answered before. */
	send(xid: number, bytes: Buffer): Promise<Fields> {
		return new Promise((answer, refuse) => {
			this.#calls.set(xid, { bytes, answer, refuse });
			this.#socket?.write(bytes);
		});
	}

	get inFlight(): number {
		return this.#calls.size;
	}

	/** Stays away when the connection is lost, until `resume`. Resolves when it is. */
	stayAway(): Promise<void> {
		this.#wanted = false;
		return new Promise((resolve) => this.#down.push(resolve));
	}

	resume(): void {
		if (this.#wanted) return;
		this.#wanted = true;
		this.#connect();
	}

	close(): void {
		this.#wanted = false;
		this.#socket?.destroy();
		for (const call of this.#calls.values()) call.refuse(new Error("the client was closed"));
		this.#calls.clear();
	}

	#connect(): void {
		if (!this.#wanted) return;
		const socket = connect(this.port, "127.0.0.1");
		socket.on("connect", () => {
			this.connections++;
			this.#socket = socket;
			this.#received = Buffer.alloc(0);
			this.resent += this.#calls.size;
			for (const { bytes } of this.#calls.values()) socket.write(bytes);
		});
		socket.on("data", (data) => this.#arrived(data));
		socket.on("error", () => {});
		socket.on("close", () => {
			this.#socket = undefined;
			for (const resolve of this.#down.splice(0)) resolve();
			setTimeout(() => this.#connect(), RECONNECT_MS);
		});
	}

	#arrived(data: Buffer): void {
		this.#received = Buffer.concat([this.#received, data]);
		while (this.#received.length >= 4) {
			const end = 4 + (this.#received.readUInt32BE(0) & 0x7fffffff);
			if (this.#received.length < end) return;
			const reply = decodeReply(this.#received.subarray(4, end));
			this.#received = this.#received.subarray(end);
			const call = this.#calls.get(reply.xid);
			this.#calls.delete(reply.xid);
			if (reply.replyStat === 0 && reply.stat === 0) call?.answer(reply.body);
			else call?.refuse(new Error(`the call was refused: ${reply.replyStat}/${reply.stat}`));
		}
	}
}
