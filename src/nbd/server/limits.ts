/** Bounds of a connection and of all together. */

export interface Limits {
	/** connections in all, and from one address */
	connections: number;
	perAddress: number;
	/** the same for peers that may use no export */
	strangers: number;
	perStranger: number;
	/** ms from the connection to the transmission phase; for strangers a third */
	handshakeTimeout: number;
	/** bytes of one option */
	optionBytes: number;
	/** replies of one writev, and bytes that one connection sends before all others have had their turn */
	batchReplies: number;
	batchBytes: number;
	/** requests of one connection that may be in flight, and bytes of their data and replies */
	inFlight: number;
	inFlightBytes: number;
	/** bytes in flight or unsent of all connections, above which each may only have one request or batch of its own */
	totalBytes: number;
	/** ms that a request may take to arrive, and a batch to leave */
	requestTimeout: number;
	sendTimeout: number;
	/** ms between looks at these two */
	sweepInterval: number;
}

export const LIMITS: Limits = {
	connections: 1024,
	perAddress: 256,
	strangers: 64,
	perStranger: 8,
	handshakeTimeout: 30_000,
	optionBytes: 64 * 1024,
	batchReplies: 512,
	batchBytes: 1024 * 1024,
	inFlight: 512,
	inFlightBytes: 16 * 1024 * 1024,
	totalBytes: 64 * 1024 * 1024,
	requestTimeout: 60_000,
	sendTimeout: 300_000,
	sweepInterval: 5000,
};

/** Largest request, in bytes: what clients assume that do not ask ("Block size constraints"). */
export const MAX_REQUEST = 32 * 1024 * 1024;

/** What all connections together hold, in bytes, and what happened so far. */
export class Totals {
	connections = 0;
	refused = 0;
	requests = 0;
	bytesRead = 0;
	bytesWritten = 0;
	/** in flight or unsent */
	held = 0;
}
