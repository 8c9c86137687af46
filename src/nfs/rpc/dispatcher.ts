/**
 * From a call record to a reply: header, credentials, procedure table, replay cache, errors. One per connection.
 * Nothing that a peer sends makes it throw.
 */
import { performance } from "node:perf_hooks";
import type { Caller, RequestKey, Volume } from "../../vfs/vfs.js";
import type { Peer } from "../access/peer.js";
import type { NfsStats, VolumeStats } from "../stats.js";
import { XdrError, type XdrReader } from "../xdr/reader.js";
import { Credentials } from "./credentials.js";
import type { AnyProcedure, Call, Program } from "./program.js";
import * as rpc from "./protocol.js";
import { type ReplayCache, requestKey } from "./replay-cache.js";
import type { ReplyWriter } from "./reply-writer.js";

/** Where replies go, and what keeps the arguments of requests in flight in place. */
export interface Sink {
	readonly replies: ReplyWriter;
	/** The request at hand is not answered yet. The returned function says that its reply has been written. */
	defer(): () => void;
	/** Replies were written outside of a batch: send them soon. */
	flushSoon(): void;
}

/** What all connections of a server share. */
export interface Service {
	readonly programs: readonly Program[];
	readonly replays: ReplayCache;
	readonly stats: NfsStats;
	readonly log: (line: string) => void;
	/** Some export admits the peer, so what it asks for is worth resources. */
	knows(peer: Peer): boolean;
	/** a connection is gone, named by its peer */
	left?(peer: object): void;
}

interface Route {
	readonly procedure: AnyProcedure<unknown>;
	/** in the counters */
	readonly number: number;
}

interface Open {
	readonly program: Program;
	readonly context: unknown;
	readonly versions: Map<number, (Route | undefined)[]>;
	readonly low: number;
	readonly high: number;
}

export class Dispatcher implements Call {
	readonly peer: Peer;
	batch = 0;
	/** bytes that the reply to the request at hand may take */
	expected = 0;
	xid = 0;
	version = 0;
	request: RequestKey | undefined;
	readonly #service: Service;
	readonly #sink: Sink;
	readonly #credentials = new Credentials();
	readonly #open = new Map<number, Open>();
	/** the volume met last, and its counters */
	#volume: Volume | undefined;
	#volumeStats: VolumeStats;
	/** where the request at hand is counted */
	#counters: VolumeStats;

	constructor(peer: Peer, service: Service, sink: Sink) {
		this.peer = peer;
		this.#service = service;
		this.#sink = sink;
		this.#volumeStats = service.stats.unattributed;
		this.#counters = service.stats.unattributed;
		for (const program of service.programs) this.#open.set(program.number, this.#openProgram(program));
	}

	#openProgram(program: Program): Open {
		const numbers = [...program.versions.keys()];
		const versions = new Map<number, (Route | undefined)[]>();
		for (const [version, procedures] of program.versions) {
			const routes = procedures.map((procedure) => {
				if (procedure === undefined) return undefined;
				return { procedure, number: this.#service.stats.number(`${program.name} ${procedure.name}`) };
			});
			versions.set(version, routes);
		}
		const context = program.context(this);
		return { program, context, versions, low: Math.min(...numbers), high: Math.max(...numbers) };
	}

	expect(bytes: number): void {
		this.expected = bytes;
	}

	caller(): Caller {
		const { uid, gid, gids } = this.#credentials.identity;
		return { uid, gid, gids, address: this.peer.address, request: this.request };
	}

	attribute(volume: Volume | undefined): void {
		if (volume !== this.#volume) {
			const { stats } = this.#service;
			this.#volume = volume;
			this.#volumeStats = volume === undefined ? stats.unattributed : stats.volume(volume);
		}
		this.#counters = this.#volumeStats;
	}

	/** Handles the record at the reader; false when it is no RPC call at all and the connection should end. */
	handle(reader: XdrReader): boolean {
		if (reader.remaining < 8) return false;
		const length = reader.remaining;
		const xid = reader.u32();
		if (reader.u32() !== rpc.CALL) return false;
		this.xid = xid;
		try {
			this.#route(reader, xid, length);
		} catch (error) {
			// Only the header's own parsing throws to here.
			this.#service.stats.malformed++;
			if (!(error instanceof XdrError)) this.#report("RPC", error);
			this.#sink.replies.refuse(xid, rpc.GARBAGE_ARGS);
		}
		return true;
	}

	#route(reader: XdrReader, xid: number, length: number): void {
		const replies = this.#sink.replies;
		if (reader.u32() !== rpc.RPC_VERSION) {
			replies.deny(xid);
			return;
		}
		const program = reader.u32();
		const version = reader.u32();
		const number = reader.u32();
		if (!this.#credentials.read(reader)) {
			replies.deny(xid, rpc.AUTH_BADCRED);
			return;
		}
		reader.u32(); // verifier flavor: AUTH_SYS has none to check
		reader.opaque(rpc.AUTH_MAX);
		const open = this.#open.get(program);
		if (open === undefined) {
			this.#refuse(xid, rpc.PROG_UNAVAIL);
			return;
		}
		const routes = open.versions.get(version);
		if (routes === undefined) {
			this.#service.stats.malformed++;
			replies.mismatch(xid, open.low, open.high);
			return;
		}
		const route = routes[number];
		if (route === undefined) {
			this.#refuse(xid, rpc.PROC_UNAVAIL);
			return;
		}
		this.version = version;
		if (route.procedure.once) {
			this.#runOnce(open, route, reader, xid, length, number);
			return;
		}
		this.request = undefined;
		this.#run(open, route, reader, xid, length, undefined);
	}

	#refuse(xid: number, acceptStat: number): void {
		this.#service.stats.malformed++;
		this.#sink.replies.refuse(xid, acceptStat);
	}

	#runOnce(open: Open, route: Route, reader: XdrReader, xid: number, length: number, number: number): void {
		const { replays, stats } = this.#service;
		const args = reader.buffer.subarray(reader.position, reader.end);
		const key = requestKey(this.peer.address, xid, open.program.number, this.version, number, args);
		let settled: (() => void) | undefined;
		const known = replays.claim(key, (reply) => {
			if (reply !== undefined) this.#sink.replies.raw(reply);
			settled?.();
		});
		if (known === undefined) {
			this.request = key;
			this.#run(open, route, reader, xid, length, key);
			this.request = undefined;
			return;
		}
		stats.replays++;
		if (known === "busy") settled = this.#sink.defer();
		else this.#sink.replies.raw(known);
	}

	#run(open: Open, route: Route, reader: XdrReader, xid: number, length: number, key: RequestKey | undefined): void {
		let result: unknown;
		this.#counters = this.#service.stats.unattributed;
		this.expected = 0;
		try {
			result = route.procedure.run(open.context, reader);
		} catch (error) {
			if (error instanceof XdrError) {
				if (key !== undefined) this.#service.replays.abandon(key);
				this.#refuse(xid, rpc.GARBAGE_ARGS);
				return;
			}
			this.#report(route.procedure.name, error);
			this.#fault(route, xid, length, key);
			return;
		}
		if (result instanceof Promise) this.#later(route, xid, length, key, result);
		else {
			const bytes = this.#reply(route, xid, key, result);
			const stats = this.#counters.procedure(route.number);
			this.#service.stats.answered(stats, length, bytes, route.procedure.failed?.(result) ?? false);
		}
	}

	#later(route: Route, xid: number, length: number, key: RequestKey | undefined, promise: Promise<unknown>): void {
		const started = performance.now();
		const settled = this.#sink.defer();
		const stats = this.#counters.procedure(route.number);
		const count = (bytes: number, failed: boolean): void => {
			stats.count(length, bytes, failed);
			stats.latency.record(performance.now() - started);
			settled();
		};
		promise.then(
			(result) => {
				const bytes = this.#reply(route, xid, key, result);
				count(bytes, route.procedure.failed?.(result) ?? false);
			},
			(error) => {
				this.#report(route.procedure.name, error);
				count(this.#replyFault(route, xid, key), true);
			},
		);
	}

	#fault(route: Route, xid: number, length: number, key: RequestKey | undefined): void {
		const bytes = this.#replyFault(route, xid, key);
		this.#service.stats.answered(this.#counters.procedure(route.number), length, bytes, true);
	}

	/** Writes a reply; an error while encoding becomes a fault too. Returns its bytes. */
	#reply(route: Route, xid: number, key: RequestKey | undefined, result: unknown): number {
		const replies = this.#sink.replies;
		replies.begin(xid);
		try {
			route.procedure.encode(replies, result);
		} catch (error) {
			replies.rollback();
			this.#report(route.procedure.name, error);
			return this.#replyFault(route, xid, key);
		}
		const bytes = replies.end();
		if (key !== undefined) {
			const keep = route.procedure.lasting?.(result) ?? true;
			this.#service.replays.settle(key, replies.copyOfLast(), keep);
		}
		return bytes;
	}

	#replyFault(route: Route, xid: number, key: RequestKey | undefined): number {
		const replies = this.#sink.replies;
		const fault = route.procedure.fault;
		let bytes = 0;
		if (fault === undefined) replies.refuse(xid, rpc.SYSTEM_ERR);
		else {
			replies.begin(xid);
			route.procedure.encode(replies, fault);
			bytes = replies.end();
		}
		if (key !== undefined) this.#service.replays.settle(key, replies.copyOfLast(), false);
		return bytes;
	}

	#report(what: string, error: unknown): void {
		const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
		this.#service.log(`${what} from ${this.peer.address} failed unexpectedly: ${text.replace(/\s+/g, " ")}`);
	}
}
