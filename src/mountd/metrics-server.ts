/** Serves metrics over plain HTTP at /metrics, to whoever reaches the port: names of sessions and numbers, no data. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describePort } from "../nfs/listen.js";
import { METRICS_CONTENT_TYPE } from "./metrics.js";

export interface MetricsServer {
	port: number;
	close(): Promise<void>;
}

/** Answers are made at most this often (ms), so that asking much does not slow the disks. */
const FRESH_MS = 250;
const MAX_CONNECTIONS = 16;
const TIMEOUT_MS = 10_000;

/** Listens; port 0 picks a free one. Rejects with one clear line when the port cannot be had. */
export async function startMetricsServer(
	address: string,
	port: number,
	text: () => string,
	log: (line: string) => void,
	/** injected clock, monotonic, ms */
	now: () => number = () => performance.now(),
): Promise<MetricsServer> {
	let last = { at: Number.NEGATIVE_INFINITY, body: "" };
	const answer = (request: IncomingMessage, response: ServerResponse): void => {
		const [path] = (request.url ?? "").split("?");
		try {
			if (path !== "/metrics") end(response, 404, "only /metrics is here\n");
			else if (request.method !== "GET" && request.method !== "HEAD") end(response, 405, "use GET\n");
			else {
				if (now() - last.at > FRESH_MS) last = { at: now(), body: text() };
				end(response, 200, last.body, METRICS_CONTENT_TYPE);
			}
		} catch (error) {
			log(`metrics: ${(error as Error).stack}`);
			end(response, 500, "metrics could not be collected; see the mount process's log\n");
		}
	};
	const server = createServer({ requestTimeout: TIMEOUT_MS, headersTimeout: TIMEOUT_MS }, answer);
	server.maxConnections = MAX_CONNECTIONS;
	server.timeout = TIMEOUT_MS;
	await new Promise<void>((resolve, reject) => {
		server.once("error", (error) => reject(describePort(error, "tcp", address, port, "metrics")));
		server.listen({ host: address, port, exclusive: true }, () => {
			server.removeAllListeners("error");
			server.on("error", (error) => log(`metrics: ${error.message}`));
			resolve();
		});
	});
	return {
		port: (server.address() as AddressInfo).port,
		close: () =>
			new Promise((resolve) => {
				server.close(() => resolve());
				server.closeAllConnections();
			}),
	};
}

function end(response: ServerResponse, status: number, body: string, type = "text/plain; charset=utf-8"): void {
	response.writeHead(status, { "Content-Type": type, "Content-Length": Buffer.byteLength(body) });
	response.end(body); // Node leaves the body out for HEAD
}
