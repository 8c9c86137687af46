/**
 * What the contract of `src/hypervisor/contract.ts` promises, tried against a real hypervisor. A driver's test makes a lab
 * and calls `compliance`; the steps build on each other, because starting a guest takes long.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";
import type { Hypervisor, Snapshot } from "../../src/hypervisor/index.js";
import { contentOf, MIB } from "./content.js";

export interface ComplianceLab {
	type: string;
	uri: string;
	/** another connection to the same host */
	host(): Hypervisor;
	/** a VM that is off, with a guest agent, a network card, and a disk for data beside its first one */
	vm: { id: string; name: string };
	data: { disk: string; device: string; size: number };
	/** where storage is moved to */
	storage: string;
	/** a disk for a VM that is registered: anything */
	spare: { source: string; format: "raw" | "qcow2" };
	/** ms until the guest's agent answers, at most */
	bootMs: number;
	/** what else this driver is to show while the guest runs; `guest` runs a script there */
	more?: (t: Test, host: Hypervisor, guest: (script: string) => Promise<string>) => Promise<void>;
}

const OPEN = fileURLToPath(new URL("../../src/hypervisor/index.js", import.meta.url));

export async function compliance(t: Test, lab: ComplianceLab): Promise<void> {
	const host = lab.host();
	const { id, name } = lab.vm;
	const guest = async (script: string): Promise<string> => {
		const { code, stdout, stderr } = await host.run(id, "/bin/sh", ["-c", script]);
		if (code !== 0) throw new Error(`${script}: exit ${code}: ${stderr}`);
		return stdout.trim();
	};
	/** `mib` MiB of one letter, on the disk when it resolves */
	const write = (letter: string, at: number, mib = 1) =>
		guest(
			`head -c ${mib}M /dev/zero | tr '\\000' ${letter} | dd of=${lab.data.device} bs=1M seek=${at} conv=notrunc oflag=direct iflag=fullblock status=none`,
		);
	const read = async (snapshot: Snapshot, since?: string) => {
		const { image, changed, whyAll } = await host.openDisk(snapshot, lab.data.disk, since);
		try {
			const content = await contentOf(image);
			const letters = Array.from({ length: 8 }, (_, n) => String.fromCharCode(content[n * MIB] || 46)).join("");
			return { letters, changed, whyAll };
		} finally {
			await image.close();
		}
	};

	await t.test("a host that can be used, and its inventory", async (t) => {
		t.strictSame(
			(await host.check()).filter(({ ok }) => !ok),
			[],
		);
		const vm = (await host.list()).find((one) => one.id === id);
		t.match(vm, { id, name, state: "off", session: null, problem: null });
		t.ok(vm!.disks.every((disk) => disk.protected));
		const { config } = await host.readConfig(id);
		t.match(config, { uuid: id, firmware: "bios" });
		t.strictSame((await host.readConfig(name)).config, config, "by name, too");
		const calls: (() => Promise<unknown>)[] = [
			() => host.readConfig("nobody"),
			() => host.snapshot("nobody"),
			() => host.power("nobody", "on"),
			() => host.run("nobody", "/bin/true", []),
			() => host.unregister("nobody"),
		];
		for (const call of calls)
			await t.rejects(call(), { name: "HypervisorError", code: "NOT_FOUND", message: /nobody/ });
		await t.rejects(host.power(id, "off"), { code: "STATE", message: /is off/ });
		t.equal(await host.heartbeat(id), false);
	});

	await t.test("power, and what a guest shows of itself", async (t) => {
		await host.power(id, "on");
		await t.rejects(host.power(id, "on"), { code: "STATE" });
		const until = Date.now() + lab.bootMs;
		while (!(await host.heartbeat(id))) {
			if (Date.now() > until) throw new Error(`no sign of life within ${lab.bootMs} ms`);
			await sleep(500);
		}
		t.match(await host.run(id, "/bin/sh", ["-c", "echo out; echo err >&2; exit 3"]), {
			code: 3,
			stdout: "out\n",
			stderr: "err\n",
		});
		await t.rejects(host.run(id, "/bin/sleep", ["30"], 300), { code: "TIMEOUT" });
		await t.rejects(host.run(id, "/no/such/program", []), { code: "FAILED" });
		const addressed = async () => (await host.addresses(id)).some((address) => /^\d+(\.\d+){3}$/.test(address));
		for (let waited = 0; !(await addressed()); waited++) {
			if (waited > 120) throw new Error("the guest has no address");
			await sleep(500);
		}
		const png = await host.screenshot(id);
		t.equal(png.toString("latin1", 1, 4), "PNG");
		await host.power(id, "pause");
		t.equal((await host.list()).find((one) => one.id === id)?.state, "paused");
		await host.power(id, "resume");
		t.equal((await host.list()).find((one) => one.id === id)?.state, "running");
	});

	let last: Snapshot;
	await t.test("a snapshot at rest, and what changed", async (t) => {
		await write("a", 0, 3);
		const first = await host.snapshot(id, { quiesce: true });
		t.match(first, { vm: id, consistency: "filesystem", why: null });
		t.ok(first.frozenMs > 0 && first.frozenMs < 10_000, `frozen for ${first.frozenMs} ms`);
		t.comment(`frozen for ${first.frozenMs} ms`);
		await write("b", 1, 3);
		t.equal((await read(first)).letters, "aaa.....", "the moment, not now");
		t.equal(await guest("touch /root/alive && sync && echo written"), "written", "the guest is thawed");
		await t.rejects(lab.host().snapshot(id), { code: "BUSY" });
		await host.removeSnapshot(first);
		const second = await host.snapshot(id);
		const { letters, changed } = await read(second, first.changeId);
		t.equal(letters, "abbb....");
		t.strictSame(changed, [{ offset: MIB, length: 3 * MIB }]);
		await host.removeSnapshot(second);
		last = second;
		// Nothing was stored from it: what changed since the second is still known below.
		await host.removeSnapshot(await host.snapshot(id), { forget: true });
	});

	await t.test("a run that dies with a snapshot: all is taken away, and tracking goes on", async (t) => {
		await write("c", 5);
		const script = `const { openHost } = await import(${JSON.stringify(OPEN)});
			const host = await openHost(...${JSON.stringify([lab.type, lab.uri])});
			const snapshot = await host.snapshot(${JSON.stringify(id)}, { quiesce: true });
			await host.openDisk(snapshot, ${JSON.stringify(lab.data.disk)});
			console.log("taken"); setInterval(() => {}, 1000);`;
		const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
			env: { ...process.env, NODE_OPTIONS: "" },
			stdio: ["ignore", "pipe", "inherit"],
		});
		await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
		t.strictSame(await lab.host().cleanUp(), [], "what a living run uses stays");
		child.kill("SIGKILL");
		await once(child, "exit");
		t.not((await lab.host().cleanUp()).length, 0, "found");
		t.strictSame(await lab.host().cleanUp(), [], "and gone");
		await write("d", 6);
		const next = await host.snapshot(id, { since: last.changeId });
		t.match(await read(next, last.changeId), { letters: "abbb.cd.", changed: [{ offset: 5 * MIB, length: 2 * MIB }] });
		await host.removeSnapshot(next);
	});

	if (lab.more !== undefined) await lab.more(t, host, guest);

	await t.test("storage moves while the guest writes; a stopped move changes nothing", async (t) => {
		const stop = new AbortController();
		await t.rejects(
			host.migrateStorage(id, { to: lab.storage, rate: 4 * MIB, signal: stop.signal, progress: () => stop.abort() }),
			{ code: "INTERRUPTED", message: /goes on where it was/ },
		);
		t.equal(await guest("echo goes on"), "goes on");
		await guest(
			`(for n in $(seq 1 100); do printf "$n\\n" | dd of=${lab.data.device} bs=512 seek=$((20000 + n)) conv=notrunc,sync status=none || echo failed >>/root/writer; done; echo done >>/root/writer) >/dev/null 2>&1 & echo started`,
		);
		let progress = 0;
		await host.migrateStorage(id, {
			to: lab.storage,
			progress: ({ done, total }) => {
				if (done > total) t.fail(`${done} of ${total}`);
				progress += 1;
			},
		});
		t.ok(progress > 0);
		t.ok(
			(await host.readConfig(id)).config.disks.every(({ path }) => path?.startsWith(lab.storage)),
			"the configuration says where",
		);
		for (let waited = 0; (await guest("cat /root/writer 2>/dev/null || true")) === "" && waited < 120; waited++)
			await sleep(500);
		t.equal(await guest("cat /root/writer"), "done", "no write failed");
		t.equal(await guest(`dd if=${lab.data.device} bs=512 skip=20100 count=1 status=none | head -n 1`), "100");
		const after = await host.snapshot(id, { since: last.changeId });
		const { letters, changed, whyAll } = await read(after, last.changeId);
		t.equal(letters, "abbb.cd.", "the content is the same");
		const named = changed?.some(({ offset, length }) => offset <= 5 * MIB && offset + length >= 7 * MIB);
		t.ok(named ?? /no record/.test(whyAll ?? ""), "what changed before the move is named, or all must be read");
		await host.removeSnapshot(after);
	});

	await t.test("off, and on again from where it is now", async (t) => {
		await host.power(id, "shutdown");
		for (let waited = 0; (await host.list()).find((one) => one.id === id)?.state !== "off"; waited++) {
			if (waited > 120) throw new Error("the guest does not shut down");
			await sleep(500);
		}
		const off = await host.snapshot(id, { quiesce: true });
		t.match(off, { consistency: "crash", why: null }, "a VM that is off is at rest by itself");
		t.equal((await read(off)).letters, "abbb.cd.");
		await host.removeSnapshot(off);
	});

	await t.test("a VM is registered, and taken away again", async (t) => {
		const { config, files } = await host.readConfig(id);
		const copy = {
			name: "compliance-copy",
			config: { ...config, uuid: null, disks: [{ ...config.disks[0], name: "disk0" }] },
			disks: [{ name: "disk0", ...lab.spare }],
			networks: {},
			session: "a-session",
			files,
		};
		await t.rejects(host.register({ ...copy, config: { ...copy.config, uuid: id } }), {
			code: "STATE",
			message: /is here already/,
		});
		await t.rejects(host.register({ ...copy, name: "../x" }), { code: "INVALID" });
		const made = await host.register(copy);
		await t.rejects(host.register({ ...copy }), { code: "STATE" }, "twice");
		t.match(
			(await host.list()).find((one) => one.id === made),
			{ name: "compliance-copy", state: "off", session: "a-session" },
		);
		t.ok(
			(await host.readConfig(made)).config.nics.every(({ connected }) => !connected),
			"cards of unmapped networks have no link",
		);
		await host.power(made, "on");
		await t.rejects(host.unregister(made), { code: "STATE", message: /power it off first/ });
		await host.power(made, "off");
		await host.unregister(made);
		t.notOk((await host.list()).some((one) => one.id === made));
	});

	await host.close();
}
