import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import t from "tap";
import { ControlClient } from "../../src/mountd/control-client.js";
import { type ControlHandlers, startControlServer } from "../../src/mountd/control-server.js";
import { ControlError, type SessionInfo } from "../../src/mountd/protocol.js";

const handlers = {
	sessions: async () => [{ session: "s" } as SessionInfo],
	close: async ({ session }: { session: string }) => {
		throw new ControlError("UNKNOWN_SESSION", `no session "${session}"`);
	},
	finish: async () => {
		throw new TypeError("a bug");
	},
} as unknown as ControlHandlers;

t.test("requests, failures, end", async (t) => {
	const path = join(t.testdir(), "control.sock");
	writeFileSync(path, "left by a process that died");
	const lines: string[] = [];
	const server = await startControlServer(path, handlers, (line) => lines.push(line));
	t.equal(statSync(path).mode & 0o777, 0o600, "only its owner can open it");
	const client = (await ControlClient.connect(path)) as ControlClient;
	const [list] = await Promise.all([
		client.call("sessions", {}),
		t.rejects(client.call("close", { session: "x" }), { code: "UNKNOWN_SESSION", message: 'no session "x"' }),
		t.rejects(client.call("hello", {}), { code: "UNKNOWN_METHOD" }),
		t.rejects(client.call("finish", { session: "x", how: "keep" }), { message: "a bug" }),
	]);
	t.same(list, [{ session: "s" }]);
	t.equal(lines.length, 1, "a bug is logged, a mistake is not");

	const raw = createConnection(path);
	raw.write("not json\n");
	t.match(String(await new Promise((resolve) => raw.once("data", resolve))), /error/, "nonsense is answered");
	raw.destroy();

	await server.close();
	await client.closed;
	await t.rejects(
		client.call("sessions", {}).then(() => undefined),
		/./,
	);
	t.equal(await ControlClient.connect(path), undefined, "nobody listens any more");
});

/** False for a process that has ended and waits for its parent, too: its sockets are closed. */
const isAlive = (pid: number): boolean => !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));

const LISTENS = "require('net').createServer().listen(process.argv[1], () => process.stdout.write('ready'))";

// Killed with our connection in its queue, it is as good as not there.
t.test("killed", async (t) => {
	for (let round = 0; round < 10; round++) {
		const path = join(t.testdir(), `${round}.sock`);
		const child = spawn(process.execPath, ["-e", LISTENS, path], { env: { PATH: process.env.PATH } });
		await once(child.stdout, "data");
		child.kill("SIGSTOP");
		const client = ControlClient.connect(path);
		child.kill("SIGKILL");
		// The event loop hears of the connection only when it has been reset: when the process is gone.
		while (isAlive(child.pid!)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
		const found = await client;
		if (found) await t.rejects(found.call("sessions", {}), { code: "GONE" }, "met in its last moment");
		else t.pass("nobody there");
	}
});
