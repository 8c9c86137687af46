/** The control socket's server side: owner-only UNIX socket, one JSON document per line. */
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { onLines } from "./lines.js";
import { ControlError, type ControlMethods, type Method } from "./protocol.js";

const LINE_MAX = 1 << 20;

export type ControlHandlers = {
	[M in Method]: (params: ControlMethods[M]["params"]) => Promise<ControlMethods[M]["result"]>;
};

export interface ControlServer {
	close(): Promise<void>;
}

/** Listens on `path`, replacing a socket left by a process that died (the caller holds the address lock). */
export async function startControlServer(
	path: string,
	handlers: ControlHandlers,
	log: (line: string) => void,
): Promise<ControlServer> {
	rmSync(path, { force: true });
	const sockets = new Set<Socket>();
	const server: Server = createServer((socket) => {
		sockets.add(socket);
		socket.on("close", () => sockets.delete(socket));
		socket.on("error", () => socket.destroy());
		serve(socket, handlers, log);
	});
	// The umask keeps others out from the first moment; chmod settles it whatever the umask was.
	const mask = process.umask(0o177);
	try {
		await new Promise<void>((resolve, reject) => {
			server.once("error", reject);
			server.listen(path, resolve);
		});
	} finally {
		process.umask(mask);
	}
	chmodSync(path, 0o600);
	return {
		close: () =>
			new Promise((resolve) => {
				server.close(() => resolve());
				// Replies already written leave before the end.
				for (const socket of sockets) socket.end();
			}),
	};
}

function serve(socket: Socket, handlers: ControlHandlers, log: (line: string) => void): void {
	onLines(socket, (line) => void answer(socket, line, handlers, log), LINE_MAX);
}

async function answer(socket: Socket, line: string, handlers: ControlHandlers, log: (line: string) => void) {
	let id: unknown = null;
	try {
		const request = JSON.parse(line) as { id: unknown; method: Method; params: never };
		id = request.id;
		if (!Object.hasOwn(handlers, request.method))
			throw new ControlError(
				"UNKNOWN_METHOD",
				`the mount process does not know "${request.method}"; update both sides`,
			);
		const result = await (handlers[request.method] as (params: never) => Promise<unknown>)(request.params);
		socket.write(`${JSON.stringify({ id, result })}\n`);
	} catch (error) {
		const code = (error as { code?: string }).code ?? "INTERNAL";
		const message = (error as Error).message;
		if (code === "INTERNAL") log(`control request failed: ${(error as Error).stack ?? message}`);
		socket.write(`${JSON.stringify({ id, error: { code, message } })}\n`);
	}
}
