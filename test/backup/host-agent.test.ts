/** Backup of a Debian guest with its agent: file systems at rest, proved by the file system itself; agents that hang or are gone. */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { debianImage } from "../../scripts/lab/guests.js";
import { MIB } from "../hypervisor/content.js";
import { qemuImg } from "../hypervisor/qemu-lab.js";
import { HostLab } from "./host-lab.js";

const BOOT_MS = 300_000;

t.test("a guest with an agent", { timeout: 600_000 }, async (t) => {
	const lab = await HostLab.make(t);
	const host = lab.hypervisor;
	mkdirSync(lab.path("deb"));
	qemuImg("create", "-q", "-f", "qcow2", "-F", "raw", "-b", debianImage(), lab.path("deb/root.qcow2"));
	writeFileSync(lab.path("empty.raw"), Buffer.alloc(64 * MIB));
	const made = spawnSync("mkfs.ext4", ["-q", "-F", lab.path("empty.raw")], { encoding: "utf8" });
	if (made.status !== 0) throw new Error(made.stderr);
	qemuImg("convert", "-f", "raw", "-O", "qcow2", lab.path("empty.raw"), lab.path("deb/data.qcow2"));
	const disks = { root: { source: "root.qcow2", format: "qcow2" }, data: { source: "data.qcow2", format: "qcow2" } };
	lab.define(
		"deb",
		"99999999-2222-3333-4444-666666666666",
		disks,
		{},
		{
			memoryMiB: 384,
			// Its system is no matter here, and would take longest.
			disks: ["root", "data"].map((name, unit) => ({
				...{ bus: "virtio", controller: 0, unit, name },
				unprotected: name === "root" ? "independent" : null,
			})),
		},
	);
	await host.power("deb", "on");
	const answers = async (ms: number) => {
		for (const until = Date.now() + ms; !(await host.heartbeat("deb")); await sleep(300))
			if (Date.now() > until) throw new Error(`the agent does not answer within ${ms} ms`);
	};
	const guest = async (script: string): Promise<string> => {
		const { code, stdout, stderr } = await host.run("deb", "/bin/sh", ["-c", script], 60_000);
		if (code !== 0) throw new Error(`${script}: exit ${code}: ${stderr}`);
		return stdout.trim();
	};
	await answers(BOOT_MS);
	await guest("mkdir -p /data && mount /dev/vdb /data");
	await guest(
		"(n=0; while :; do n=$((n + 1)); echo $n >/data/log.$((n % 20)); sync -d /data/log.$((n % 20)); done) >/dev/null 2>&1 &",
	);
	/** What ext4 says of the data disk in a point: with "needs_recovery" it was in the middle of something. */
	const features = async (point: string): Promise<string> => {
		const file = lab.path("data.raw");
		writeFileSync(file, await lab.stored(point, "data"));
		const { stdout } = spawnSync("dumpe2fs", ["-h", file], { encoding: "utf8" });
		return /^Filesystem features:(.*)$/m.exec(stdout)![1];
	};

	await t.test("at rest: full and increment", async (t) => {
		const first = await lab.backup("deb", { quiesce: true, consistency: "filesystem" });
		t.match(first, { consistency: "filesystem", why: null, left: [{ name: "root" }] });
		t.match(first.warnings, [/disk root is NOT in the restore point: independent/]);
		t.ok(first.frozenMs > 0 && first.frozenMs < 10_000);
		t.comment(`frozen for ${first.frozenMs} ms`);
		t.notMatch(await features(first.point), /needs_recovery/);
		const { status, stdout } = spawnSync("e2fsck", ["-fn", lab.path("data.raw")], { encoding: "utf8" });
		t.equal(status, 0, stdout);
		const next = await lab.backup("deb", { quiesce: true, consistency: "filesystem" });
		t.comment(`frozen for ${next.frozenMs} ms`);
		t.match(next.disks, [{ name: "data", tracked: true }]);
		t.ok(next.disks[0].read < first.disks[0].read);
		t.notMatch(await features(next.point), /needs_recovery/);
		const without = await lab.backup("deb");
		t.match(without, { consistency: "crash", why: null, frozenMs: 0 });
		t.match(await features(without.point), /needs_recovery/, "this is what is not claimed otherwise");
		await t.rejects(lab.backup("deb", { quiesce: true, consistency: "application" }), {
			message: /application was asked for, filesystem was reached: .*VSS writers/,
		});
	});

	await t.test("the agent hangs in freeze: bounded, undone, and no more is claimed than is so", async (t) => {
		await guest("printf '#!/bin/sh\\nif [ $1 = freeze ]; then sleep 8; fi\\n' >/root/hook && chmod +x /root/hook");
		// The agent cannot replace itself: what it starts would end with it. Its end may come before its answer.
		await guest(
			"systemd-run --quiet --collect sh -c 'systemctl stop qemu-guest-agent; exec qemu-ga -F/root/hook -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0'",
		).catch(() => "");
		// The shell's parent is the agent that started it.
		for (let agent = ""; !agent.includes("/root/hook"); await sleep(300))
			agent = await guest("tr '\\000' ' ' </proc/$PPID/cmdline").catch(() => "");
		const began = Date.now();
		const { consistency, why, frozenMs } = await lab.backup("deb", { quiesce: true, freezeMs: 1500 });
		t.match({ consistency, why, frozenMs }, { consistency: "crash", why: /not be frozen within 1500 ms/, frozenMs: 0 });
		t.comment(`${Date.now() - began} ms`);
		await answers(60_000);
		t.equal(await guest("touch /data/after && sync -f /data/after && echo written"), "written", "nothing stays frozen");
	});

	await t.test("no agent any more", async (t) => {
		await guest("agent=$PPID; (sleep 1; kill -STOP $agent) >/dev/null 2>&1 &");
		await sleep(3000);
		const count = (await lab.repository.points()).length;
		await t.rejects(lab.backup("deb", { quiesce: true, consistency: "filesystem" }), {
			message: /filesystem was asked for, crash was reached: the guest's agent does not answer/,
		});
		t.equal((await lab.repository.points()).length, count);
		t.match((await host.list())[0], { state: "running" });
		t.match(await lab.backup("deb", { quiesce: true }), { consistency: "crash", disks: [{ tracked: true }] });
	});
	t.strictSame(await host.cleanUp(), []);
});
