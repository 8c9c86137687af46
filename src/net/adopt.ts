/**
 * An accepted connection as a socket that reads into buffers of ours and writes batches without passing through
 * the stream machinery. net.createServer has no `onread` for accepted sockets, so the handle moves to a new
 * Socket that has; and `_writev` is called directly, because a batch is already what it wants. Both are how Node's
 * own net module works inside (seen in 20 to 24); nothing else of the project depends on it.
 */
import { type Server, Socket } from "node:net";

/** What net.Socket's _writev takes. */
export type Chunk = { chunk: Buffer };

interface Inner {
	_handle: { reading: boolean } | null;
	_server: Server | null;
	_writev(chunks: Chunk[] & { allBuffers?: boolean }, done: (error?: Error | null) => void): void;
}

export interface Reading {
	/** Room for the next read. */
	room(): Buffer;
	/** Bytes have arrived in the room given last; false pauses until `socket.resume()`. */
	arrived(length: number): boolean;
}

/** Takes over a socket accepted with `pauseOnConnect`; the old object must not be used any more. */
export function adopt(accepted: Socket, reading: Reading): Socket {
	const inner = accepted as unknown as Inner;
	const handle = inner._handle;
	const server = inner._server;
	const socket = new Socket({
		handle,
		allowHalfOpen: true,
		manualStart: true,
		onread: { buffer: () => reading.room(), callback: (length: number) => reading.arrived(length) },
	} as ConstructorParameters<typeof Socket>[0]);
	// The server counts its connections through this property.
	(socket as unknown as Inner)._server = server;
	inner._server = null;
	inner._handle = null;
	accepted.destroy();
	return socket;
}

/** Writes all chunks with one writev where the kernel takes them; `done` may be called before this returns. */
export function writeBatch(socket: Socket, chunks: Chunk[], done: (error?: Error | null) => void): void {
	const list: Chunk[] & { allBuffers?: boolean } = chunks;
	list.allBuffers = true;
	(socket as unknown as Inner)._writev(list, done);
}
