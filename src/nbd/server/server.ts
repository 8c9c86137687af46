/** The NBD server: listeners over TCP and Unix sockets, and how many connections there may be. */
import { chmodSync, lstatSync, rmSync } from "node:fs";
import { connect, createServer, type ListenOptions, type Server, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import type { TlsOptions } from "node:tls";
import { SlabPool } from "../../net/slabs.js";
import { Connection } from "./connection.js";
import type { NbdExports } from "./export.js";
import { LIMITS, type Limits, Totals } from "./limits.js";

/** At least what the server needs to know of the other end. */
export interface NbdPeer {
	/** names where it comes from: connections are counted by it */
	readonly address: string;
}

export interface NbdServerOptions<Peer extends NbdPeer> {
	exports: NbdExports<Peer>;
	/** who is at the other end of a connection that a listener of this kind has accepted */
	identify: (socket: Socket, kind: "tcp" | "unix") => Peer;
	/** takes one line */
	log: (line: string) => void;
	limits?: Partial<Limits>;
}

export interface ListenTls {
	/** certificate and key; with `requestCert`, clients must show one that `ca` has signed */
	tls?: TlsOptions;
	/** nothing is served without TLS */
	required?: boolean;
}

/** Slabs that are kept for use again, in bytes. */
const KEPT_SLABS = 32 * 1024 * 1024;
const KEEP_ALIVE_MS = 60_000;
const BACKLOG = 512;
/** ms that connections get for what is in flight when the server closes */
const GRACE_MS = 2000;

export class NbdServer<Peer extends NbdPeer> {
	readonly totals = new Totals();
	readonly #options: NbdServerOptions<Peer>;
	readonly #limits: Limits;
	readonly #pool = new SlabPool(KEPT_SLABS);
	readonly #servers: Server[] = [];
	readonly #connections = new Map<Connection<Peer>, boolean>();
	readonly #perAddress = new Map<string, number>();
	#strangers = 0;
	readonly #sweep: NodeJS.Timeout;

	constructor(options: NbdServerOptions<Peer>) {
		this.#options = options;
		this.#limits = { ...LIMITS, ...options.limits };
		this.#sweep = setInterval(() => {
			const now = performance.now();
			for (const connection of this.#connections.keys()) connection.check(now);
		}, this.#limits.sweepInterval).unref();
	}

	/** Listens on an address; port 0 picks a free one. Resolves with the port; rejects with the system's error. */
	async listenTcp(address: string, port: number, tls: ListenTls = {}): Promise<number> {
		const server = await this.#listen("tcp", { host: address, port, backlog: BACKLOG, exclusive: true }, tls);
		return (server.address() as { port: number }).port;
	}

	/** Listens on a socket that only its owner can open, replacing one that was left there. Rejects with the system's error. */
	async listenUnix(path: string): Promise<void> {
		await clear(path);
		// The umask keeps others out from the first moment; chmod settles it whatever the umask was.
		const mask = process.umask(0o177);
		try {
			await this.#listen("unix", { path, backlog: BACKLOG }, {});
		} finally {
			process.umask(mask);
		}
		chmodSync(path, 0o600);
	}

	async #listen(kind: "tcp" | "unix", where: ListenOptions, tls: ListenTls): Promise<Server> {
		const server = createServer({
			pauseOnConnect: true,
			noDelay: true,
			keepAlive: true,
			keepAliveInitialDelay: KEEP_ALIVE_MS,
		});
		server.on("connection", (socket) => this.#accept(socket, kind, tls));
		await new Promise<void>((resolve, reject) => {
			server.once("error", reject);
			server.listen(where, () => {
				server.removeAllListeners("error");
				server.on("error", () => {}); // accept(2) failures (EMFILE) pass; the client tries again
				resolve();
			});
		});
		this.#servers.push(server);
		return server;
	}

	#accept(socket: Socket, kind: "tcp" | "unix", { tls, required }: ListenTls): void {
		const { exports, identify, log } = this.#options;
		const limits = this.#limits;
		const peer = identify(socket, kind);
		const open = this.#perAddress.get(peer.address) ?? 0;
		const stranger = !exports.knows(peer);
		const full = stranger
			? this.#strangers >= limits.strangers || open >= limits.perStranger
			: this.#connections.size - this.#strangers >= limits.connections || open >= limits.perAddress;
		if (full) {
			this.totals.refused++;
			socket.destroy();
			return;
		}
		this.#perAddress.set(peer.address, open + 1);
		if (stranger) this.#strangers++;
		this.totals.connections++;
		const connection: Connection<Peer> = new Connection(socket, {
			...{ exports, peer, limits, tls, pool: this.#pool, totals: this.totals },
			optionBytes: limits.optionBytes,
			tlsRequired: required === true,
			handshakeTimeout: stranger ? limits.handshakeTimeout / 3 : limits.handshakeTimeout,
			log: (line) => log(`nbd connection from ${peer.address} ${line}`),
			onClosed: () => this.#forget(connection, peer),
		});
		this.#connections.set(connection, stranger);
	}

	#forget(connection: Connection<Peer>, { address }: Peer): void {
		if (this.#connections.get(connection)) this.#strangers--;
		this.#connections.delete(connection);
		this.totals.connections--;
		const left = (this.#perAddress.get(address) ?? 1) - 1;
		if (left > 0) this.#perAddress.set(address, left);
		else this.#perAddress.delete(address);
	}

	/** Stops accepting, answers what is in flight (for at most 2 s), closes all connections. */
	async close(): Promise<void> {
		clearInterval(this.#sweep);
		const closed = this.#servers.splice(0).map((server) => new Promise<void>((done) => server.close(() => done())));
		for (const connection of this.#connections.keys()) connection.end();
		const grace = setTimeout(() => {
			for (const connection of this.#connections.keys()) connection.destroy();
		}, GRACE_MS);
		await Promise.all(closed);
		clearTimeout(grace);
	}
}

/** Removes the socket of a server that died. Rejects with EADDRINUSE or EEXIST when something else is there. */
async function clear(path: string): Promise<void> {
	const there = lstatSync(path, { throwIfNoEntry: false });
	if (!there) return;
	const refuse = (code: string) => Object.assign(new Error(`${path}: ${code}`), { code });
	if (!there.isSocket()) throw refuse("EEXIST");
	const used = await new Promise<boolean>((resolve) => {
		const socket = connect(path, () => resolve(true));
		socket.once("error", () => resolve(false));
		socket.once("connect", () => socket.destroy());
	});
	if (used) throw refuse("EADDRINUSE");
	rmSync(path, { force: true });
}
