/**
 * After any end of `verify` nothing of it is left on the machine: success, failure, Ctrl-C, and kill -9 in each phase with
 * the next run behind it. Everything is counted before and after. The guest fits into a boot sector, the lab is real.
 */
import { spawn } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { smallDomain } from "../../scripts/lab/small.js";
import { writerDisk } from "../../scripts/lab/writer.js";
import { ownMachine } from "../lab/wire.js";
import { hashOf, VerifyLab } from "./verify-lab.js";
import { MAIN } from "./workspace.js";

await enterNamespace(import.meta.url);
t.setTimeout(300_000);
const runs = ownMachine();
const lab = new VerifyLab();
t.teardown(async () => {
	await lab.close();
	rmSync(runs, { recursive: true, force: true });
});

/** @param shell what the tester runs; @param match what the console has to say */
const plan = (shell: string, match = "U") => `version: 1
name: leftovers
vms:
  web:
    stabilise: {by: output, match: "${match}", timeout: 60s}
    tests: [{command: {shell: "${shell}"}, timeout: 60s}]
`;
/** A run that takes away what is left, and begins nothing. */
const NEXT = "version: 1\nname: next\nlimits: {memory: 16m}\nvms: [web]\n";
const marker = lab.path("in the test");
const LONG = `touch '${marker}'; sleep 600 & sleep 600`;

let nothing: object;
let stored: object;
let source: string;

t.before(async () => {
	await lab.init();
	writerDisk(lab.path("web.raw"), 2 ** 21);
	await lab.point("web", lab.path("web.raw"), smallDomain("web", 1));
	nothing = await lab.left(runs);
	source = hashOf(lab.path("web.raw"));
	stored = lab.stored();
});

const nothingLeft = async (t: Test): Promise<void> => {
	t.strictSame(await lab.left(runs), nothing, "nothing is left");
	t.strictSame(lab.stored(), stored, "no restore point was touched");
	t.equal(hashOf(lab.path("web.raw")), source, "nor the source");
};

t.test("success", async (t) => {
	const { run, of } = await lab.verify(plan("true"));
	t.match([run.code, of("web")], [0, { result: "passed", tests: [{ result: "passed" }] }], run.stderr);
	await nothingLeft(t);
});

t.test("failure", async (t) => {
	const { run, of } = await lab.verify(plan("sleep 600 & false"));
	t.match([run.code, of("web")], [3, { fault: "service", summary: /exit code 1, expected 0/ }], run.stderr);
	await nothingLeft(t);
});

/** Starts it, and sends `signal` as soon as `when` is true. */
const interrupted = async (text: string, signal: NodeJS.Signals, when: () => boolean | Promise<boolean>) => {
	rmSync(marker, { force: true });
	writeFileSync(lab.path("plan.yaml"), text);
	const args = ["-u", "NODE_OPTIONS", process.execPath, MAIN, "verify", "--plan", lab.path("plan.yaml"), "--json"];
	const child = spawn("env", args, { env: lab.env(), stdio: ["ignore", "pipe", "ignore"] });
	let stdout = "";
	child.stdout.setEncoding("utf8").on("data", (piece: string) => {
		stdout += piece;
	});
	const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
	while (child.exitCode === null && !(await when())) await sleep(20);
	child.kill(signal);
	return { code: await ended, stdout };
};

const booting = async (): Promise<boolean> => (await lab.processes()).some((line) => /qemu-system/.test(line));
const testing = (): boolean => existsSync(marker);

for (const [phase, text, when] of [
	["boot", plan("true", "never"), booting],
	["test", plan(LONG), testing],
] as const) {
	t.test(`Ctrl-C in the phase: ${phase}`, async (t) => {
		const { code, stdout } = await interrupted(text, "SIGINT", when);
		t.equal(code, 130);
		t.match(JSON.parse(stdout), { result: "cancelled", vms: [{ result: "cancelled" }] });
		await nothingLeft(t);
	});
	t.test(`kill -9 in the phase: ${phase}`, async (t) => {
		t.equal((await interrupted(text, "SIGKILL", when)).code, null);
		t.not(lab.processes().length, 0, "what ran goes on running");
		const next = await lab.verify(NEXT);
		t.match([next.run.code, next.run.stderr], [3, /cleaned up: VM web-verify-\S+ of a run that was killed/]);
		await nothingLeft(t);
	});
}

/** Notes of a run: lab, session and VM before they are made; each again when it is gone. */
const NOTES = ["lab", "session", "VM", "VM gone", "session gone", "lab gone"];

for (const [op, where] of [
	["rename", "before"],
	["fsyncDirectory", "behind"],
] as const)
	NOTES.forEach((note, skip) => {
		// Behind a note that something is gone is before the next.
		if (where === "behind" && skip > 2) return;
		t.test(`kill -9 ${where} the note: ${note}`, async (t) => {
			writeFileSync(lab.path("plan.yaml"), plan("true"));
			const rules = [{ op, path: "verify/runs", skip, kill: true }];
			const env = { SPRINGBACK_FAULTS: JSON.stringify(rules) };
			const { code } = await lab.cli(["verify", "--plan", lab.path("plan.yaml")], env);
			t.equal(code, null, "killed");
			t.equal((await lab.verify(NEXT)).run.code, 3);
			await nothingLeft(t);
		});
	});
