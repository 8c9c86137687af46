/** This machine starts again: what was served is served again, of several addresses, and of an encrypted repository. */
import { writeFileSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { processes } from "./client/processes.js";
import { writeDisk } from "./content.js";
import { startUnit } from "./installed-unit.js";
import { must, type Ready, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);
const MIB = 2 ** 20;
t.setTimeout(120_000);

/** As a power failure: nobody is asked. */
const killAll = () => {
	for (const name of ["supervisor.js", "main.js"])
		for (const pid of processes(`/mountd/${name}`)) process.kill(pid, "SIGKILL");
};

t.test("sessions of two addresses, one parked, one whose repository is away", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	writeDisk(work.path("disk.raw"), 1, 2 * MIB);
	await work.init();
	await work.backup("vm", work.path("disk.raw"));
	t.match(JSON.parse((await startUnit(work.env())).stdout), { sessions: [], guests: [], warnings: [] });
	const publish = async (session: string, ...args: string[]): Promise<Ready> => {
		const { stdout } = await work.cli(["publish", "vm", "--session", session, "--detach", "--no-portmap", ...args]);
		return JSON.parse(stdout) as Ready;
	};
	const one = await publish("one", "--nfs-port", "0", "--mount-port", "0", "--nbd-port", "0");
	await publish("parked", "--nfs-port", "0", "--mount-port", "0");
	const other = ["--listen", "127.0.0.2", "--nfs-port", "0", "--mount-port", "0"];
	await publish("two", ...other, "--read-only");
	const uri = one.nbd[0].uris.find((uri) => uri.startsWith("nbd://"))!;
	await must("qemu-io", ["-f", "raw", "-c", "write -P 66 0 65536", "-c", "flush", uri]);
	t.equal((await work.cli(["finish", "parked", "--keep"])).code, 0);
	killAll();
	const states = async () => (await work.sessions()).map(({ session, state }) => `${session} ${state}`);
	t.strictSame(await states(), ["one failed", "parked parked", "two failed"]);
	const started = await startUnit(work.env());
	t.equal(started.code, 0, started.stderr);
	t.match(JSON.parse(started.stdout), {
		sessions: [
			{ session: "one", listen: "127.0.0.1", error: null },
			{ session: "two", listen: "127.0.0.2", error: null },
		],
	});
	await must("qemu-io", ["-f", "raw", "-c", "read -P 66 0 65536", uri]);
	t.strictSame(await states(), ["one open", "parked parked", "two open"]);
	const pid = await work.mountdPid("one");
	t.equal((await startUnit(work.env())).code, 0);
	t.equal(await work.mountdPid("one"), pid, "again: nothing is done");
	// As systemd stops what is left: nobody ends a session by that.
	for (const pid of processes("/mountd/supervisor.js")) process.kill(pid, "SIGTERM");
	while (processes("/mountd/main.js").length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
	await must("mv", [work.repository, `${work.repository}-away`]);
	const away = await startUnit(work.env());
	t.equal(away.code, 4, "systemd tries again");
	t.match(JSON.parse(away.stdout).sessions, [{ error: /repo/ }, { error: /repo/ }]);
	await must("mv", [`${work.repository}-away`, work.repository]);
	t.equal((await startUnit(work.env())).code, 0);
	await must("qemu-io", ["-f", "raw", "-c", "read -P 66 0 65536", uri]);
	t.match((await work.cli(["sessions", "resumed"])).stderr, /did you mean "sessions resume"/);
});

t.test("of an encrypted repository: with its passphrase in a file, else one clear line", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	writeFileSync(work.path("key"), "correct horse\n");
	writeDisk(work.path("disk.raw"), 1, 2 * MIB);
	await work.json(["init", "--encrypt", "--key-file", work.path("key")]);
	await work.json(["backup", "vm", "--disk", work.path("disk.raw"), "--key-file", work.path("key")]);
	const publish = [
		"publish",
		"vm",
		"--session",
		"s",
		"--detach",
		"--no-portmap",
		"--nfs-port",
		"0",
		"--mount-port",
		"0",
	];
	t.equal((await work.cli([...publish, "--key-file", work.path("key")])).code, 0);
	killAll();
	const without = await startUnit(work.env());
	t.equal(without.code, 4);
	t.match(JSON.parse(without.stdout).sessions, [{ session: "s", error: /is encrypted: give --key-file/ }]);
	const env = { ...work.env(), SPRINGBACK_PASSPHRASE_FILE: work.path("key") };
	t.match(JSON.parse((await startUnit(env)).stdout).sessions, [{ session: "s", error: null }]);
	t.match(await work.sessions(), [{ session: "s", state: "open" }]);
});
