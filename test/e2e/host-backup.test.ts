/** `backup --host` as users run it: a real guest writes meanwhile; runs are killed, stopped and refused; what is protected is listed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import t, { type Test } from "tap";
import { MIB } from "../hypervisor/content.js";
import { QemuLab, qemuImg } from "../hypervisor/qemu-lab.js";
import { MAIN, Workspace } from "./workspace.js";

interface Report {
	point: string;
	vm: string;
	disks: { name: string; size: number; read: number; new: number; stored: number; tracked: boolean; why: string }[];
	seconds: number;
	consistency: string;
	why: string | null;
	frozenMs: number;
	left: { name: string; why: string }[];
}

const ID = "88888888-2222-3333-4444-555555555555";
const lab = new QemuLab();
const host = lab.host();
const work = new Workspace();
t.teardown(async () => {
	await work.close();
	await lab.close();
});

/** Runs until it has said something, then gets the signal; its exit code, or the signal that ended it. */
async function signalled(args: string[], signal: NodeJS.Signals): Promise<[number | string | null, string]> {
	const child = spawn(process.execPath, [MAIN, ...args], {
		env: { ...work.env(), NODE_OPTIONS: "" },
		stdio: ["ignore", "ignore", "pipe"],
	});
	let said = "";
	child.stderr.setEncoding("utf8").on("data", (text: string) => {
		said += text;
		if (/all of it is read/.test(said)) child.kill(signal);
	});
	const [code, by] = await once(child, "exit");
	return [code ?? by, said];
}

const clean = async (t: Test) => {
	t.equal((await host.list())[0].state, "running");
	t.strictSame(await host.cleanUp(), [], "nothing is left on the host");
	t.strictSame(
		readdirSync(lab.path("web/.springback")).filter((name) => !["lock", "starting", "qemu.log"].includes(name)),
		[],
	);
};

t.test("a guest that writes", async (t) => {
	const backup = (...more: string[]) => work.cli(["backup", "web", "--host", "lab", "--json", ...more]);
	const done = async (...more: string[]): Promise<Report> => {
		const { code, stdout, stderr } = await backup(...more);
		if (code !== 0) throw new Error(`exit ${code}: ${stderr}`);
		return JSON.parse(stdout);
	};
	await work.init();
	lab.tiny("web", [{ format: "qcow2", size: 48 * MIB }], ID);
	t.equal((await work.cli(["hosts", "add", "lab", "qemu", lab.uri])).code, 0);
	const never = await work.cli(["vms", "--host", "lab", "--json"]);
	t.equal(never.code, 4, "a VM without a restore point is not protected");
	t.match(JSON.parse(never.stdout), [{ protected: false, lastPoint: null, disks: [{ lastPoint: null }] }]);
	await host.power("web", "on");
	await lab.shell("web", "head -c 25165824 /dev/zero | tr '\\000' a | dd of=/dev/vda bs=1M conv=fsync 2>&1");
	// A record at a place of its own, again and again, each on the disk before the next: what a point has is a beginning.
	await lab.shell(
		"web",
		"(n=0; while [ ! -e /tmp/stop ]; do n=$((n + 1)); printf '%-4095d\\n' $n | dd of=/dev/vda bs=4k seek=$((8000 + n % 16)) conv=notrunc,fsync 2>/dev/null; done; echo $n >/tmp/stopped) >/dev/null 2>&1 &",
	);

	t.test("a full and two increments", async (t) => {
		const first = await done();
		t.match(first, { vm: "web", consistency: "crash", why: /agent does not answer/, frozenMs: 0, left: [] });
		t.match(first.disks, [{ name: "disk0", size: 48 * MIB, tracked: false, why: /first backup/ }]);
		t.ok(first.disks[0].read >= 24 * MIB && first.disks[0].read <= 26 * MIB, `${first.disks[0].read} bytes read`);
		for (const letter of ["b", "c"]) {
			await lab.shell(
				"web",
				`for at in 1 100 200 300; do head -c 4k /dev/zero | tr '\\000' ${letter} | dd of=/dev/vda bs=4k seek=$((at * 16)) conv=notrunc,fsync 2>/dev/null; done`,
			);
			const next = await done();
			t.match(next.disks, [{ tracked: true, why: null }]);
			// Four of ours, and the one or two that the writer keeps writing to.
			t.ok(next.disks[0].read <= 1.2 * 6 * 65536, `${next.disks[0].read} bytes read`);
			const file = work.path(`${letter}.raw`);
			t.equal((await work.cli(["export", "web", "--disk", "0", "-o", file])).code, 0);
			const content = readFileSync(file);
			for (const at of [1, 100, 200, 300]) t.equal(content[at * 65536], letter.charCodeAt(0));
			const numbers = Array.from({ length: 16 }, (_, n) =>
				Number(content.toString("latin1", (8000 + n) * 4096, (8001 + n) * 4096).trim()),
			);
			const last = Math.max(...numbers);
			const expected = numbers.map((_, n) => last - ((((last - n) % 16) + 16) % 16));
			t.strictSame(numbers, expected, "all records up to the last, and none after it");
		}
		await clean(t);
		t.match(JSON.parse((await work.cli(["points", "web", "--json"])).stdout), [{ consistency: "crash" }, {}, {}]);
	});

	t.test("killed, stopped and refused runs", async (t) => {
		// Tracking is lost with the process, so that there is something to read.
		await host.power("web", "off");
		for (const name of bitmapsOf("web/disk0.qcow2")) qemuImg("bitmap", "--remove", lab.path("web/disk0.qcow2"), name);
		await host.power("web", "on");
		await lab.shell("web", "true");
		const slow = ["backup", "web", "--host", "lab", "--read-limit", "2m", "--no-quiesce"];
		const [by] = await signalled(slow, "SIGKILL");
		t.equal(by, "SIGKILL");
		t.ok(
			readdirSync(lab.path("web/.springback")).some((name) => name.endsWith(".qcow2")),
			"a scratch file is left",
		);
		await lab.shell("web", "echo goes on | dd of=/dev/vda bs=4k seek=4000 conv=notrunc,fsync 2>/dev/null");
		const [code, said] = await signalled(slow, "SIGINT");
		t.equal(code, 130);
		t.match(said, /left by a run that died, taken away: VM web: .*\n/);
		t.match(said, /disk0: all of it is read: the disk has no record of what changed/);
		await clean(t);
		const refused = await backup("--consistency", "filesystem");
		t.match(
			[refused.code, refused.stderr],
			[1, /web: consistency filesystem was asked for, crash was reached: the guest's agent does not answer/],
		);
		t.equal((await work.json<unknown[]>(["points", "web"])).length, 3, "nothing was stored");
		await clean(t);
		const next = await done("--no-quiesce");
		t.match(next.disks, [{ tracked: false }]);
		t.match((await done("--no-quiesce")).disks, [{ tracked: true, read: 0 }]);
	});
});

t.test("wrong hosts and options", async (t) => {
	lab.define("solo", ID.replace(/^8/, "9"), { disk0: { source: "disk0.raw", format: "raw" } });
	qemuImg("create", "-q", "-f", "raw", lab.path("solo/disk0.raw"), String(MIB));
	const gone = new QemuLab();
	await work.cli(["hosts", "add", "gone", "qemu", gone.uri]);
	await gone.close();
	for (const [args, code, words] of [
		[["web", "--host", "other"], 1, /no host other: there is/],
		[["web", "--host", "gone"], 1, /there is no such folder.*check the host's URI/],
		[["nobody", "--host", "lab"], 1, /no VM nobody on host lab/],
		[["web", "--host", "lab", "--disk", "x.raw"], 2, /--disk does not go with --host/],
		[["web", "--disk", "x.raw", "--scratch", "/tmp"], 2, /--scratch needs --host/],
		[["--vms", "x.yaml", "--host", "lab"], 2, /--host does not go with --vms/],
		[["web", "--host", "lab", "--consistency", "much"], 2, /use application, filesystem, crash/],
		[["solo", "--host", "lab", "--pre-script", "/bin/false"], 1, /\/bin\/false: failed with exit code 1/],
		[["solo", "--host", "lab", "--consistency", "application"], 1, /is off, and nobody knows/],
	] as const) {
		const run = await work.cli(["backup", ...args]);
		t.match([run.code, run.stderr], [code, words], args.join(" "));
	}
});

t.test("what is protected", async (t) => {
	const hook = lab.path("hook");
	writeFileSync(hook, `#!/bin/sh\nenv >${lab.path("env")}\n`);
	chmodSync(hook, 0o755);
	const file = lab.path("solo/vm.json");
	const definition = JSON.parse(readFileSync(file, "utf8"));
	definition.config.disks.push({ bus: "virtio", controller: 0, unit: 1, name: "dump", unprotected: "independent" });
	definition.disks.dump = { source: "disk0.raw", format: "raw" };
	writeFileSync(file, JSON.stringify(definition));
	const partly = await work.cli(["backup", "solo", "--host", "lab", "--post-script", hook], {
		SPRINGBACK_NEW_PASSPHRASE: "secret",
	});
	t.match(
		[partly.code, partly.stderr, partly.stdout],
		[
			4,
			/warning: disk dump is NOT in the restore point: independent/,
			/^solo@[0-9a-f]{8}: crash consistent, .* in 1 disk, /,
		],
	);
	const env = readFileSync(lab.path("env"), "utf8");
	t.match(env, /SPRINGBACK_RESULT=warnings\n/);
	t.notMatch(env, /secret/);
	const { code, stdout } = await work.cli(["vms", "--host", "lab"]);
	t.equal(code, 4);
	t.match(
		stdout,
		/solo +off .*2 disks, last \d{4}-.*\n +disk0 .*protected.*, last \d{4}-.*\n +dump .*NOT PROTECTED.*independent/,
	);
	t.match(stdout, /web +running .*1 disk, last \d{4}-/);
});

/** Names of the dirty bitmaps in a file. */
function bitmapsOf(file: string): string[] {
	const info = JSON.parse(qemuImg("info", "--output=json", lab.path(file)));
	const found = info["format-specific"].data.bitmaps as { name: string }[] | undefined;
	return (found ?? []).map(({ name }) => name);
}
