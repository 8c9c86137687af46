/** Freezing against agents that hang, lie, talk nonsense or vanish: bounded, and always undone. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { GuestAgent } from "../../src/hypervisor/qemu/agent.js";
import { atRest, thawLeftover } from "../../src/hypervisor/qemu/freeze.js";
import { vmPlaces } from "../../src/hypervisor/qemu/layout.js";
import type { Vm } from "../../src/hypervisor/qemu/vm.js";

type Answer = (command: string, args: { id?: number }, socket: Socket) => unknown;

/** An agent that answers as told; `undefined` is silence. */
const agent = async (t: Test, answer: Answer) => {
	const folder = `/tmp/sb-agent-${process.pid}-${Math.random().toString(36).slice(2)}`;
	mkdirSync(folder);
	const asked: string[] = [];
	const sockets = new Set<Socket>();
	const server: Server = createServer((socket) => {
		sockets.add(socket);
		let text = "";
		socket.on("error", () => {});
		socket.setEncoding("utf8").on("data", (piece) => {
			text += piece;
			for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n")) {
				const { execute, arguments: args } = JSON.parse(text.slice(0, at));
				text = text.slice(at + 1);
				asked.push(execute);
				const result = answer(execute, args, socket);
				if (result !== undefined) socket.write(`${JSON.stringify(result)}\n`);
			}
		});
	});
	const vm = { name: "vm", id: "x", places: vmPlaces(folder) } as Vm;
	await new Promise<void>((resolve) => server.listen(vm.places.agent, resolve));
	t.teardown(() => {
		for (const socket of sockets) socket.destroy();
		server.close();
		rmSync(folder, { recursive: true, force: true });
	});
	return { vm, asked };
};
const sync: Answer = (command, { id }) => {
	if (command === "guest-get-osinfo") return { return: { id: "debian" } };
	return command === "guest-sync" ? { return: id } : undefined;
};

t.test("a guest that behaves", async (t) => {
	const { vm, asked } = await agent(t, (...all) => sync(...all) ?? { return: 2 });
	const rest = await atRest(vm, 1000, async () => {
		t.strictSame(
			asked.filter((command) => command !== "guest-sync"),
			["guest-get-osinfo", "guest-fsfreeze-freeze"],
		);
		t.ok(existsSync(join(vm.places.own, "frozen")), "noted, should we die now");
	});
	t.match(rest, { consistency: "filesystem", why: null });
	t.equal(asked.at(-1), "guest-fsfreeze-thaw");
	t.notOk(existsSync(join(vm.places.own, "frozen")));
});

t.test("the work fails: the guest is thawed all the same", async (t) => {
	const { vm, asked } = await agent(t, (...all) => sync(...all) ?? { return: 2 });
	await t.rejects(
		atRest(vm, 1000, () => Promise.reject(new Error("no room"))),
		{ message: "no room" },
	);
	t.equal(asked.at(-1), "guest-fsfreeze-thaw");
});

t.test("an agent that hangs in freeze: bounded, told to thaw, and no more is claimed than is so", async (t) => {
	const { vm, asked } = await agent(t, sync);
	const began = Date.now();
	let worked = false;
	const rest = await atRest(vm, 300, async () => {
		worked = true;
	});
	t.ok(worked);
	t.ok(Date.now() - began < 3000);
	t.match(rest, { consistency: "crash", why: /could not be frozen within 300 ms/, frozenMs: 0 });
	await new Promise((resolve) => setTimeout(resolve, 50));
	t.equal(asked.at(-1), "guest-fsfreeze-thaw", "it does this when it wakes up");
	t.ok(existsSync(join(vm.places.own, "frozen")), "and the next run looks again");
});

t.test("refused, none frozen, or thawed too early", async (t) => {
	const cases: [Answer, RegExp][] = [
		[() => ({ error: { class: "GenericError", desc: "hook failed" } }), /hook failed/],
		[() => ({ return: 0 }), /froze no file system/],
		[(command) => ({ return: command === "guest-fsfreeze-freeze" ? 2 : 0 }), /ended its rest by itself/],
	];
	for (const [answer, why] of cases) {
		const { vm } = await agent(t, (...all) => sync(...all) ?? answer(...all));
		t.match(await atRest(vm, 1000, async () => {}), { consistency: "crash", why });
	}
});

t.test("a guest that cannot be thawed is an error that says what to do", async (t) => {
	const { vm } = await agent(t, (command, args, socket) => {
		if (command === "guest-fsfreeze-thaw") socket.destroy();
		return sync(command, args, socket) ?? { return: 1 };
	});
	await t.rejects(
		atRest(vm, 1000, async () => {}),
		{ code: "FAILED", message: /may still be frozen.*fsfreeze -u/ },
	);
});

t.test("answers to what others asked, and garbage, are passed over", async (t) => {
	const { vm } = await agent(t, (command, { id }, socket) => {
		if (command !== "guest-sync") return { return: "mine" };
		socket.write('{"return": 17}\n\u00ff{"ret\nnonsense\n{"error": {"class": "X", "desc": "old"}}\n');
		return { return: id };
	});
	const connection = await GuestAgent.connect(vm.places.agent);
	t.equal(await connection.call("guest-ping"), "mine");
	connection.close();
});

t.test("nobody there", async (t) => {
	const { vm } = await agent(t, () => undefined);
	await t.rejects(GuestAgent.connect(vm.places.agent, 200), { code: "NO_AGENT", message: /qemu-guest-agent/ });
	await t.rejects(GuestAgent.connect("/nowhere/agent.sock"), { code: "NO_AGENT" });
});

t.test("what a run left frozen is thawed", async (t) => {
	const { vm, asked } = await agent(t, (...all) => sync(...all) ?? { return: 2 });
	t.equal(await thawLeftover(vm), false, "nothing was noted, so nobody is asked");
	t.strictSame(asked, []);
	mkdirSync(vm.places.own);
	writeFileSync(join(vm.places.own, "frozen"), "");
	t.equal(await thawLeftover(vm), true);
	t.equal(asked.at(-1), "guest-fsfreeze-thaw");
	t.equal(await thawLeftover(vm), false, "once");
});
