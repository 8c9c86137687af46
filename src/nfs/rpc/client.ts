/** A small RPC client over a stream, for talking to the rpcbind of this machine: one call at a time. */
import { connect, type NetConnectOpts, type Socket } from "node:net";
import { XdrReader } from "../xdr/reader.js";
import { XdrWriter } from "../xdr/writer.js";
import * as rpc from "./protocol.js";

const TIMEOUT_MS = 5000;
const MAX_REPLY = 64 * 1024;

export class RpcClient {
	readonly #socket: Socket;
	#xid = 1;
	#received: Buffer = Buffer.alloc(0);
	#waiting: { resolve(reply: Buffer): void; reject(error: Error): void } | undefined;

	private constructor(socket: Socket) {
		this.#socket = socket;
		socket.on("data", (data) => this.#arrived(data));
		const fail = (error: Error): void => {
			this.#waiting?.reject(error);
			this.#waiting = undefined;
		};
		socket.on("error", fail);
		socket.on("close", () => fail(new Error("connection closed")));
		socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error("no answer in time")));
	}

	/** Rejects with the system's error. */
	static connect(options: NetConnectOpts): Promise<RpcClient> {
		return new Promise((resolve, reject) => {
			const socket = connect(options);
			socket.once("error", reject);
			socket.once("connect", () => {
				socket.off("error", reject);
				resolve(new RpcClient(socket));
			});
		});
	}

	/** Calls and returns the results; rejects when the call was not carried out. */
	async call(
		program: number,
		version: number,
		procedure: number,
		encode: (args: XdrWriter) => void,
	): Promise<XdrReader> {
		const xid = this.#xid++;
		const writer = new XdrWriter();
		writer.u32(0);
		for (const word of [xid, rpc.CALL, rpc.RPC_VERSION, program, version, procedure]) writer.u32(word);
		for (const word of [rpc.AUTH_NONE, 0, rpc.AUTH_NONE, 0]) writer.u32(word);
		encode(writer);
		writer.view.setUint32(0, (writer.position - 4 + rpc.LAST_FRAGMENT) >>> 0);
		const record = await new Promise<Buffer>((resolve, reject) => {
			this.#waiting = { resolve, reject };
			this.#socket.write(writer.bytes());
		});
		const reply = XdrReader.over(record);
		const [replyXid, type, accepted] = [reply.u32(), reply.u32(), reply.u32()];
		if (replyXid !== xid || type !== rpc.REPLY || accepted !== rpc.MSG_ACCEPTED) throw new Error("call denied");
		reply.u32();
		reply.opaque(rpc.AUTH_MAX);
		const status = reply.u32();
		if (status !== rpc.SUCCESS) throw new Error(`call refused (accept_stat ${status})`);
		return reply;
	}

	#arrived(data: Buffer): void {
		this.#received = Buffer.concat([this.#received, data]);
		if (this.#received.length < 4) return;
		const mark = this.#received.readUInt32BE(0);
		const length = mark - rpc.LAST_FRAGMENT;
		if (length < 0 || length > MAX_REPLY) {
			this.#socket.destroy(new Error("reply in fragments or too long"));
			return;
		}
		if (this.#received.length < 4 + length) return;
		const record = this.#received.subarray(4, 4 + length);
		this.#received = this.#received.subarray(4 + length);
		this.#waiting?.resolve(record);
		this.#waiting = undefined;
	}

	close(): void {
		this.#socket.destroy();
	}
}
