/** Without root: the guest's card is QEMU's own network without a way out, and only ports that tests name are reached. */
import { rmSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { smallDisk, smallDomain } from "../../scripts/lab/small.js";
import { ownMachine } from "../lab/wire.js";
import { type Document, VerifyLab } from "./verify-lab.js";
import { MAIN, run } from "./workspace.js";

await enterNamespace(import.meta.url);
t.setTimeout(200_000);
const runs = ownMachine();
/** Everything by somebody who may not make networks. */
class Unprivileged extends VerifyLab {
	override cli(args: string[], env: Record<string, string> = {}) {
		// Not root any more, and without any capability.
		const as = ["--user", "--map-user=1000", "--map-group=1000", "--", "env", "-u", "NODE_OPTIONS"];
		return run("unshare", [...as, process.execPath, MAIN, ...args], { ...this.env(), ...env });
	}
}

const lab = new Unprivileged();
t.teardown(async () => {
	await lab.close();
	rmSync(runs, { recursive: true, force: true });
});

t.test("a port of a guest is reached, and nothing is left", async (t) => {
	const disk = lab.path("web.raw");
	smallDisk(disk);
	await lab.init();
	await lab.point("web", disk, smallDomain("web", 1));
	const nothing = await lab.left(runs);
	const plan = `version: 1
name: user
vms:
  web:
    timeout: 3m
    stabilise: {by: output, match: "small guest is up", timeout: 2m}
    tests: [{http: {port: 80, text: It works}}, {ping: {}, timeout: 2s, retries: 0, optional: true}]
`;
	const { run, document, of } = await lab.verify(plan);
	t.equal(run.code, 4, run.stderr);
	t.match(document, { result: "warning", labMode: "user" } satisfies Partial<Document>);
	t.match(of("web").tests, [
		{ kind: "http", result: "passed" },
		{ kind: "ping", result: "warning", message: /without root only ports of a guest can be reached/ },
	]);
	t.strictSame(await lab.left(runs), nothing);
});
