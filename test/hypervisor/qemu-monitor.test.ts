/** QEMU's monitor serves one client and lets one wait: whoever comes then is no sign that the VM is off. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { Qmp } from "../../src/hypervisor/qemu/qmp.js";
import { findQemu } from "../../src/hypervisor/qemu/start-process.js";

t.test("a queue that is full", async (t) => {
	const folder = mkdtempSync(join(tmpdir(), "springback-monitor-"));
	const path = join(folder, "qmp");
	const arguments_ = ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", `unix:${path},server=on,wait=off`];
	const qemu = spawn(findQemu()!, arguments_, { stdio: "ignore" });
	const over = once(qemu, "exit");
	t.teardown(async () => {
		qemu.kill("SIGKILL");
		await over;
		rmSync(folder, { recursive: true });
	});
	while (!existsSync(path)) await sleep(10);
	const first = connect(path);
	// Its greeting: it is served.
	await once(first, "data");
	const waiting: Socket[] = [];
	const full = async (): Promise<boolean> =>
		new Promise((resolve) => {
			const socket = connect(path);
			socket.once("connect", () => resolve(waiting.push(socket) < 0));
			socket.once("error", (error) => resolve((error as { code?: string }).code === "EAGAIN"));
		});
	while (!(await full())) t.ok(waiting.length < 10, "QEMU's queue is short");
	let open = false;
	const asked = Qmp.connect(path).then((qmp) => {
		open = true;
		return qmp;
	});
	await sleep(100);
	t.notOk(open, "it waits");
	for (const socket of [first, ...waiting]) socket.destroy();
	const qmp = await asked;
	t.match(await qmp!.execute("query-status"), { status: String });
	qmp!.close();
});
