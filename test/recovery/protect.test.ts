/** What a recovered VM writes becomes a restore point by itself, until it is home; also when the terminal is gone. */
import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { processes } from "../e2e/client/processes.js";
import { RecoveryLab, UUID } from "./lab.js";

await enterNamespace(import.meta.url);

const lab = new RecoveryLab();
t.teardown(() => lab.close());
t.setTimeout(180_000);

const until = async (what: string, done: () => boolean | Promise<boolean>) => {
	for (const end = Date.now() + 60_000; !(await done()); await sleep(100))
		if (Date.now() > end) throw new Error(`${what}: not within a minute`);
};
const points = async () => (await lab.json<{ id: string; parent: string | null }[]>(["points", "web"])).length;

t.test("a recovery is backed up from its session", async (t) => {
	await lab.prepare(9);
	await lab.recover("--session", "s", "--protect", "1s");
	await until("a restore point", async () => (await points()) >= 2);
	// Said again: nobody does it twice.
	await lab.recover("--session", "s");
	await until("one protector", () => processes("/cli/protector.js").length === 1);
	await lab.host.power(UUID, "off");
	await until("all is protected", async () => (await lab.sessions())[0].unprotectedSince === null);
	const before = await points();
	await sleep(2_500);
	t.equal(await points(), before, "nothing written, no point");
	await lab.json([
		"recover",
		"web",
		"--host",
		"lab",
		"--session",
		"t",
		"--isolated",
		"--name",
		"two",
		"--wait",
		"100ms",
	]);
	await lab.works("two", 1);
	await lab.host.power("two", "off");
	t.equal((await lab.cli(["finish", "s", "--keep"])).code, 0);
	t.equal((await lab.cli(["finish", "t", "--keep"])).code, 0);
	await until("the protectors have ended", () => processes("/cli/protector.js").length === 0);
	t.strictSame(
		readdirSync(lab.path("state/recoveries")).filter((name) => name.includes("protect")),
		[],
	);
});
