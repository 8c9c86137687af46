/** Ctrl-C: before the VM is powered on everything is undone; behind that only the waiting ends. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { MAIN } from "../e2e/workspace.js";
import { RecoveryLab, UUID } from "./lab.js";

await enterNamespace(import.meta.url);

const lab = new RecoveryLab();
t.teardown(() => lab.close());
t.setTimeout(120_000);
t.before(() => lab.prepare(9));

/** Starts a recovery, and stops it once its note names one of the phases; a short one may pass unseen. */
const interrupted = async (phases: string[], faults: object[] = []) => {
	const args = ["recover", "web", "--host", "lab", "--original-gone", "--session", "s", "--protect", "off"];
	const child = spawn("env", ["-u", "NODE_OPTIONS", process.execPath, MAIN, ...args], {
		env: { ...lab.env(), SPRINGBACK_FAULTS: JSON.stringify(faults) },
		stdio: ["ignore", "ignore", "pipe"],
	});
	let stderr = "";
	child.stderr.setEncoding("utf8").on("data", (text: string) => {
		stderr += text;
	});
	const note = lab.path("state/recoveries/s.json");
	const says = () => existsSync(note) && phases.includes(JSON.parse(readFileSync(note, "utf8")).phase);
	while (!says()) {
		if (child.exitCode !== null) throw new Error(`it ended before: ${stderr}`);
		await sleep(5);
	}
	child.kill("SIGINT");
	const [code] = await once(child, "close");
	return { code, stderr };
};

t.test("before power-on: nothing is left", async (t) => {
	// Registering is slow, so that the signal comes in the middle.
	const { code, stderr } = await interrupted(
		["replacing", "registering"],
		[{ op: "link", path: "vm.json", delayMs: 3_000 }],
	);
	t.match([code, stderr], [130, /undoing: the recovery was interrupted/]);
	t.strictSame(await lab.host.list(), []);
	t.strictSame(readdirSync(lab.path("vms")), []);
	t.strictSame(await lab.sessions(), []);
	t.notOk(existsSync(lab.path("state/recoveries/s.json")));
});

t.test("while it waits for signs of life: the VM runs on", async (t) => {
	const { code, stderr } = await interrupted(["ready"]);
	t.match([code, stderr], [130, /no longer waiting; web runs on; springback finish s ends it/]);
	t.equal(await lab.stateOf(UUID), "running");
	await lab.works("web", 1);
});
