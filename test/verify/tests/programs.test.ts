import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { contextOf, judge } from "./context.js";

t.test("script: exit code and text of a program in the guest", async (t) => {
	const context = contextOf(t);
	t.match(await judge("script", { shell: "echo one; echo two >&2" }, context), {
		result: "passed",
		message: "exit code 0: two",
		output: "one\ntwo\n",
	});
	t.match(await judge("script", { shell: "echo broken >&2; exit 3" }, context), {
		result: "failed",
		message: "exit code 3, expected 0: broken",
	});
	t.match(await judge("script", { shell: "exit 3", code: 3 }, context), { result: "passed" });
	t.match(await judge("script", { program: "/bin/echo", args: ["a b"], expect: "^a b$" }, context), {
		result: "passed",
	});
	t.match(await judge("script", { program: "/bin/echo", args: ["a"], expect: "^b$" }, context), {
		result: "failed",
		message: 'printed "a", expected /^b$/',
	});
	const asked: unknown[] = [];
	const windows = contextOf(t, {
		run: async (...call) => {
			asked.push(call);
			return { code: 0, stdout: "", stderr: "" };
		},
	});
	await judge("script", { shell: "sc query w32time", windows: true }, windows, { timeoutMs: 1234 });
	t.same(asked, [["cmd.exe", ["/d", "/s", "/c", "sc query w32time"], 1234]]);
	const hanging = contextOf(t, { run: () => new Promise(() => {}) });
	t.match(await judge("script", { shell: "sleep 9" }, hanging, { timeoutMs: 100 }), {
		result: "failed",
		message: "/bin/sh still runs in the guest (within 100 ms)",
	});
});

t.test("command: told of the VM by its environment, and of nothing secret", async (t) => {
	process.env.SPRINGBACK_PASSWORD = "secret";
	t.teardown(() => {
		delete process.env.SPRINGBACK_PASSWORD;
	});
	const context = contextOf(t, { environment: async () => ({ SPRINGBACK_VM: "web", SPRINGBACK_ADDRESS: "10.0.0.7" }) });
	const report = await judge("command", { shell: "env; pwd", ports: [22] }, context);
	t.match(report, { result: "passed" });
	t.match(report.output, /^SPRINGBACK_VM=web$/m);
	t.match(report.output, /^SPRINGBACK_ADDRESS=10\.0\.0\.7$/m);
	t.match(report.output, /^SPRINGBACK_PORT_22=127\.0\.0\.1:22$/m);
	t.notMatch(report.output, /secret/);
	t.match(report.message, `exit code 0: ${context.directory}`);
});

t.test("command: fails by exit code, signal, text, or when it cannot be started", async (t) => {
	const context = contextOf(t);
	t.match(await judge("command", { shell: "echo why; exit 2" }, context), {
		message: "exit code 2, expected 0: why",
		fault: "service",
	});
	t.match(await judge("command", { shell: "kill -SEGV $$" }, context), { message: "was ended by SIGSEGV, expected 0" });
	t.match(await judge("command", { shell: "echo a", expect: "b" }, context), { message: 'printed "a", expected /b/' });
	t.match(await judge("command", { program: "/nonexistent" }, context), {
		message: /is not there/,
		fault: "infrastructure",
	});
	const file = join(context.directory, "x");
	writeFileSync(file, "#!/bin/sh\n", { mode: 0o644 });
	t.match(await judge("command", { program: file }, context), { message: /chmod \+x/, fault: "infrastructure" });
});

t.test("command: at its time limit everything that it started is gone; endless output is cut", async (t) => {
	const context = contextOf(t);
	const mark = `sb-mark-${process.pid}`;
	const shell = `(trap '' TERM; exec -a ${mark} sleep 300) & exec -a ${mark} sleep 300`;
	const report = await judge("command", { program: "/bin/bash", args: ["-c", shell] }, context, { timeoutMs: 300 });
	t.match(report, { result: "failed", message: "still ran and was ended (within 300 ms)" });
	await sleep(100);
	t.same(running(mark), []);
	const left = await judge(
		"command",
		{ program: "/bin/bash", args: ["-c", `exec -a ${mark} sleep 300 & exit 0`] },
		context,
	);
	t.match(left, { result: "passed" });
	await sleep(100);
	t.same(running(mark), [], "what it left in the background is gone, too");
	const noisy = await judge("command", { shell: "yes | head -c 50000000" }, context, { timeoutMs: 20_000 });
	t.match(noisy, { result: "passed", output: /bytes left out/ });
	t.ok(noisy.output.length <= 65536);
});

t.test("checksum: damage is named, and reading is ended with the attempt", async (t) => {
	const good = contextOf(t, { checkBlocks: async () => ({ blocks: 4, bytes: 4096, damaged: [] }) });
	t.match(await judge("checksum", {}, good), { result: "passed", value: { amount: 4096, unit: "bytes" } });
	const bad = contextOf(t, {
		checkBlocks: async () => ({
			blocks: 4,
			bytes: 4096,
			damaged: ["disk0 block 2: missing", "disk0 block 3: identity"],
		}),
	});
	t.match(await judge("checksum", {}, bad), {
		result: "failed",
		fault: "damaged-data",
		message: "2 of 4 blocks are damaged or missing: disk0 block 2: missing",
		output: "disk0 block 2: missing\ndisk0 block 3: identity",
	});
	let ended = false;
	const slow = contextOf(t, {
		checkBlocks: (progress, signal) => {
			progress(3, 10);
			signal!.addEventListener("abort", () => {
				ended = true;
			});
			return new Promise(() => {});
		},
	});
	t.match(await judge("checksum", {}, slow, { timeoutMs: 100 }), {
		result: "failed",
		message: /only 3 of 10 blocks/,
		fault: "infrastructure",
	});
	t.ok(ended);
});

t.test("ping: this machine answers, an address of nobody does not", async (t) => {
	t.match(await judge("ping", { count: 1 }, contextOf(t)), { result: "passed", value: { unit: "ms" } });
	// reserved (RFC 1112 section 4): no machine has it
	const nobody = contextOf(t, { reach: async () => "240.0.0.1" });
	t.match(await judge("ping", { count: 1 }, nobody, { timeoutMs: 700 }), { result: "failed" });
});

const running = (mark: string): string[] =>
	readdirSync("/proc").filter((pid) => {
		try {
			return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "latin1").startsWith(mark);
		} catch {
			return false;
		}
	});
