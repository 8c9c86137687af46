/** RPC over UDP for portmap: one call, one reply, no record marks. */
import { createSocket, type Socket } from "node:dgram";
import { isIP } from "node:net";
import { SlabPool } from "../../net/slabs.js";
import { peerOfDatagram } from "../access/peer.js";
import { Dispatcher, type Service } from "../rpc/dispatcher.js";
import { ReplyWriter } from "../rpc/reply-writer.js";
import { XdrReader } from "../xdr/reader.js";

const RECORD_MARK_BYTES = 4;
/** The customary limit of RPC over UDP. */
const MAX_CALL = 8800;

/** Binds; rejects with the system's error. */
export function listenUdp(address: string, port: number, service: Service): Promise<Socket> {
	const socket = createSocket(isIP(address) === 6 ? "udp6" : "udp4");
	const pool = new SlabPool(1024 * 1024);
	socket.on("message", (message, sender) => {
		if (message.length > MAX_CALL) return;
		const replies = new ReplyWriter(pool);
		const reply = (): void => {
			const batch = replies.take();
			if (batch === undefined) return;
			const bytes = Buffer.concat(batch.chunks.map(({ chunk }) => chunk)).subarray(RECORD_MARK_BYTES);
			batch.release();
			// A datagram may be lost on any way; the client asks again.
			socket.send(bytes, sender.port, sender.address, () => {});
		};
		const sink = { replies, defer: () => reply, flushSoon: reply };
		const dispatcher = new Dispatcher(peerOfDatagram(sender), service, sink);
		if (!dispatcher.handle(XdrReader.over(message))) service.stats.malformed++;
		reply();
		service.stats.endBatch(0);
	});
	return new Promise((resolve, reject) => {
		socket.once("error", (error) => {
			socket.close();
			reject(error);
		});
		socket.bind({ address, port, exclusive: true }, () => {
			socket.removeAllListeners("error");
			socket.on("error", (error) => service.log(`portmap over UDP: ${error.message}`));
			resolve(socket);
		});
	});
}
