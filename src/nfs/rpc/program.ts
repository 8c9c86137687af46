/**
 * What a program (NFS, MOUNT, portmap) is to the RPC layer: procedures that read arguments, run, and encode
 * a result. Running and encoding are apart because a result may come later, into another batch of replies.
 */
import type { Caller, RequestKey, Volume } from "../../vfs/vfs.js";
import type { Peer } from "../access/peer.js";
import type { XdrReader } from "../xdr/reader.js";
import type { XdrWriter } from "../xdr/writer.js";

export interface Releasable {
	release?(): void;
}

/** A writer of replies that can pass foreign slices to the socket without copying them. */
export interface ReplyBody extends XdrWriter {
	/**
	 * Ends the reply with an opaque whose length (`count`) and bytes come from `slices`; `owner.release` is called
	 * once they have left the socket or never will.
	 */
	gather(slices: readonly Buffer[], count: number, owner: Releasable): void;
}

/** The request at hand. One per connection, filled anew for each: read what you need before the first await. */
export interface Call {
	readonly peer: Peer;
	/** Grows with every batch: what was resolved under another number must be resolved again. */
	readonly batch: number;
	readonly xid: number;
	readonly version: number;
	/** Set while a procedure that must not run twice is carried out. */
	readonly request: RequestKey | undefined;
	/** Says how many bytes the reply may take in memory if it comes later; counted against the connection. */
	expect(bytes: number): void;
	/** Who asks, from AUTH_SYS. */
	caller(): Caller;
	/** The request concerns `volume`: it is counted there. */
	attribute(volume: Volume | undefined): void;
}

/**
 * One procedure. `C` is what the program keeps per connection, `R` the result. The arguments lie in the receive
 * buffer, which stays untouched until the result is there.
 */
export interface Procedure<C, R> {
	readonly name: string;
	/** Doing it twice is wrong: duplicates are answered from the replay cache. */
	readonly once?: boolean;
	/** Throws XdrError for arguments that do not parse; any other error is a bug and becomes `fault`. */
	run(context: C, args: XdrReader): R | Promise<R>;
	encode(reply: ReplyBody, result: R): void;
	/** Encoded after an unexpected error; without it the RPC layer answers SYSTEM_ERR. */
	readonly fault?: R;
	/** True when the result is a failure (for counters); absent: never. */
	failed?(result: R): boolean;
	/** False when a failure is passing and must be tried again by a replay rather than remembered. */
	lasting?(result: R): boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds procedures of different results; the RPC layer passes each its own
export type AnyProcedure<C> = Procedure<C, any>;

export interface Program<C = unknown> {
	readonly name: string;
	readonly number: number;
	/** by version; undefined holes are PROC_UNAVAIL */
	readonly versions: ReadonlyMap<number, readonly (AnyProcedure<C> | undefined)[]>;
	/** Called once per connection (or UDP socket). */
	context(call: Call): C;
}

/** Procedure 0 of every program. */
export const nullProcedure: Procedure<unknown, undefined> = {
	name: "NULL",
	run: () => undefined,
	encode: () => {},
};
