/** TCP listeners for RPC programs: connections, their number, their time-outs; and whose port it is when it is taken. */
import { createServer, type Server, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import type { SlabPool } from "../net/slabs.js";
import { peerOfConnection } from "./access/peer.js";
import { portHolder } from "./access/proc-net.js";
import { Connection, type Limits } from "./rpc/connection.js";
import type { Service } from "./rpc/dispatcher.js";

export interface Listener {
	port: number;
	/** Stops accepting, answers what is in flight, closes. */
	close(): Promise<void>;
}

/** ESXi may open 128 connections from one address. */
const MAX_CONNECTIONS = 1024;
const MAX_PER_ADDRESS = 256;
/** Peers that may mount nothing get little, so that they leave room for those who may. */
const MAX_STRANGERS = 128;
const MAX_PER_STRANGER = 16;
/** bytes of one call of theirs: enough to be told that they may not */
const STRANGER_MAX_RECORD = 16 * 1024;
const KEEP_ALIVE_MS = 60_000;
/** ms that connections get for what is in flight when the server closes */
const GRACE_MS = 2000;
const BACKLOG = 512;

/** One clear line for an error of binding; other errors pass as they are. */
export function describePort(error: unknown, kind: "tcp" | "udp", address: string, port: number, what: string): Error {
	const { code } = error as NodeJS.ErrnoException;
	const where = `port ${port} on ${address} (${what}${kind === "udp" ? " over UDP" : ""})`;
	let text: string;
	if (code === "EADDRINUSE") {
		const holder = portHolder(kind, address, port);
		text = `${where} is in use${holder ? ` by ${holder}` : ""}: stop that or choose another port`;
	} else if (code === "EACCES") text = `${where} needs root (or CAP_NET_BIND_SERVICE): choose a port above 1023`;
	else if (code === "EADDRNOTAVAIL") text = `${address} is no address of this machine: choose another to listen on`;
	else return error as Error;
	return Object.assign(new Error(text, { cause: error }), { code });
}

/** Listens; rejects with one clear line. */
export async function listenTcp(
	address: string,
	port: number,
	what: string,
	service: Service,
	pool: SlabPool,
	limits: Limits,
): Promise<Listener> {
	const connections = new Set<Connection>();
	const strangers = new Set<Connection>();
	const strangerLimits = { ...limits, maxRecord: Math.min(limits.maxRecord, STRANGER_MAX_RECORD) };
	const perAddress = new Map<string, number>();
	const { stats } = service;

	const forget = (connection: Connection): void => {
		connections.delete(connection);
		strangers.delete(connection);
		service.left?.(connection.peer);
		stats.connections--;
		const left = (perAddress.get(connection.peer.address) ?? 1) - 1;
		if (left > 0) perAddress.set(connection.peer.address, left);
		else perAddress.delete(connection.peer.address);
	};
	const accept = (socket: Socket): void => {
		const peer = peerOfConnection(socket);
		const open = perAddress.get(peer.address) ?? 0;
		const stranger = !service.knows(peer);
		const full = stranger
			? strangers.size >= MAX_STRANGERS || open >= MAX_PER_STRANGER
			: connections.size - strangers.size >= MAX_CONNECTIONS - MAX_STRANGERS || open >= MAX_PER_ADDRESS;
		if (full) {
			stats.connectionsRefused++;
			socket.destroy();
			return;
		}
		perAddress.set(peer.address, open + 1);
		stats.connections++;
		stats.connectionsTotal++;
		const connection = new Connection(socket, peer, service, pool, stranger ? strangerLimits : limits, forget);
		connections.add(connection);
		if (stranger) strangers.add(connection);
	};

	const server = createServer({
		pauseOnConnect: true,
		noDelay: true,
		keepAlive: true,
		keepAliveInitialDelay: KEEP_ALIVE_MS,
	});
	server.on("connection", accept);
	await bind(server, address, port, what);
	const sweep = setInterval(() => {
		const now = performance.now();
		for (const connection of connections) connection.checkStall(now);
	}, limits.sweepInterval).unref();

	return {
		port: (server.address() as { port: number }).port,
		async close() {
			clearInterval(sweep);
			const closed = new Promise<void>((resolve) => server.close(() => resolve()));
			for (const connection of connections) connection.end();
			const grace = setTimeout(() => {
				for (const connection of connections) connection.destroy();
			}, GRACE_MS);
			await closed;
			clearTimeout(grace);
		},
	};
}

function bind(server: Server, address: string, port: number, what: string): Promise<void> {
	return new Promise((resolve, reject) => {
		server.once("error", (error) => reject(describePort(error, "tcp", address, port, what)));
		server.listen({ host: address, port, backlog: BACKLOG, exclusive: true }, () => {
			server.removeAllListeners("error");
			server.on("error", () => {}); // accept(2) failures (EMFILE) pass; the client tries again
			resolve();
		});
	});
}
