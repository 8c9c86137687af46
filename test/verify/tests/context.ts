/** A context whose guest is this machine: its ports are those of servers that the test started. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import type { TestReport } from "../../../src/verify/model.js";
import type { TestContext, TestSpec } from "../../../src/verify/tests/contract.js";
import { kindOf } from "../../../src/verify/tests/kinds.js";
import { runTest } from "../../../src/verify/tests/run.js";

export const contextOf = (t: Test, more: Partial<TestContext> = {}): TestContext => {
	const directory = mkdtempSync(join(tmpdir(), "sb-test-"));
	t.teardown(() => rmSync(directory, { recursive: true, force: true }));
	return {
		vm: "web",
		point: "p1",
		guest: "web",
		reach: async () => "127.0.0.1",
		endpoint: async ({ port }) => ({ host: "127.0.0.1", port }),
		heartbeat: async () => true,
		run: (program, args) =>
			new Promise((resolve) =>
				execFile(program, args, (error, stdout, stderr) =>
					resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
				),
			),
		console: async () => "",
		screenshot: async () => Buffer.alloc(0),
		disks: [],
		diskUri: async () => "",
		checkBlocks: async () => ({ blocks: 0, bytes: 0, damaged: [] }),
		environment: async () => ({}),
		directory,
		signal: new AbortController().signal,
		...more,
	};
};

/** Runs a test with the kind's defaults, but without retries and with a short limit unless told otherwise. */
export const judge = (
	kind: string,
	options: Record<string, unknown>,
	context: TestContext,
	more: Partial<TestSpec> = {},
): Promise<TestReport> => {
	const known = kindOf(kind)!;
	const began = performance.now();
	const spec: TestSpec = {
		kind,
		name: kind,
		timeoutMs: 3000,
		retries: 0,
		retryMs: 10,
		optional: false,
		options: known.options(options),
		...more,
	};
	return runTest(spec, context, () => performance.now() - began);
};

/** A server of this machine; resolves with its port. */
export const serve = async (t: Test, accept: (socket: Socket) => void): Promise<number> => {
	const sockets = new Set<Socket>();
	const server = createServer((socket) => {
		sockets.add(socket);
		socket.once("close", () => sockets.delete(socket));
		socket.on("error", () => {});
		accept(socket);
	});
	t.teardown(() => {
		for (const socket of sockets) socket.destroy();
		server.close();
	});
	return listen(server);
};

export const listen = (server: Server): Promise<number> =>
	new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port)));

/** A port of this machine that nobody listens on. */
export const closedPort = async (): Promise<number> => {
	const server = createServer();
	const port = await listen(server);
	await new Promise((resolve) => server.close(resolve));
	return port;
};
