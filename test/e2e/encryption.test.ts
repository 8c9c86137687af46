/** An encrypted repository from the command line: where keys come from, where they must not be, and a killed server. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { writeDisk } from "./content.js";
import { MAIN, must, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const MIB = 2 ** 20;
const SECRET = "correct horse";

async function encryptedWork(t: { teardown(fn: () => unknown): void }): Promise<Workspace> {
	const work = new Workspace();
	t.teardown(() => work.close());
	writeFileSync(work.path("key"), `${SECRET}\n`);
	writeDisk(work.path("disk.raw"), 1, 2 * MIB);
	await work.json(["init", "--encrypt", "--compression", "zstd:5", "--key-file", work.path("key")]);
	await work.json(["backup", "ledger-vm", "--disk", work.path("disk.raw"), "--key-file", work.path("key")]);
	return work;
}

const filesBelow = (path: string): string[] =>
	readdirSync(path, { recursive: true, withFileTypes: true })
		.filter((entry) => entry.isFile())
		.map((entry) => join(entry.parentPath, entry.name));

t.test("every command takes the key from file, environment or prompt; without it, one clear line", async (t) => {
	const work = await encryptedWork(t);
	for (const args of [
		["points"],
		["check"],
		["repair"],
		["rebuild"],
		["export", "ledger-vm", "-o", work.path("no.raw")],
		["publish", "ledger-vm"],
	]) {
		const none = await work.cli(args);
		t.equal(none.code, 1, args[0]);
		t.match(none.stderr, /^springback: .* is encrypted: give --key-file FILE.*\n$/);
	}
	for (const args of [["points"], ["publish", "ledger-vm"]]) {
		const wrong = await work.cli(args, { SPRINGBACK_PASSPHRASE: "wrong" });
		t.match([wrong.code, wrong.stderr], [1, /^springback: wrong passphrase: it opens none of the 2 keys/], args[0]);
	}
	t.match((await work.cli(["points"], { SPRINGBACK_PASSPHRASE: SECRET })).stdout, /ledger-vm/);
	t.match((await work.cli(["points"], { SPRINGBACK_PASSPHRASE_FILE: work.path("key") })).stdout, /ledger-vm/);
	t.equal((await work.cli(["check", "--read-data"], { SPRINGBACK_PASSPHRASE: SECRET })).code, 0);
	t.match((await work.cli(["doctor"])).stdout, /encrypted; give its key/);
	await must("env", [
		...[`SPRINGBACK_PASSPHRASE=${SECRET}`, process.execPath, MAIN, "export", "ledger-vm", "-q"],
		...["--repo", work.repository, "-o", work.path("out.raw")],
	]);
	t.ok(readFileSync(work.path("out.raw")).equals(readFileSync(work.path("disk.raw"))));
	for (const file of filesBelow(work.repository))
		for (const word of ["ledger-vm", SECRET, "disk.raw"])
			if (readFileSync(file).includes(word)) t.fail(`${file} holds ${word}`);
	const plain = await work.cli(["init", "--repo", work.path("plain")]);
	t.equal(plain.code, 0);
	const refused = await work.cli(["points", "--repo", work.path("plain")], { SPRINGBACK_PASSPHRASE: SECRET });
	t.match([refused.code, refused.stderr], [1, /is not encrypted, but a passphrase was given/]);
});

t.test("check, repair and rebuild with the key: wrong bits, then no index", async (t) => {
	const work = await encryptedWork(t);
	const key = ["--key-file", work.path("key")];
	const [pack] = filesBelow(join(work.repository, "packs")).filter((file) => readFileSync(file)[8] === 1);
	const bytes = readFileSync(pack);
	bytes[1000] ^= 1;
	writeFileSync(pack, bytes);
	const check = await work.cli(["check", "--read-data", ...key]);
	t.equal(check.code, 3);
	t.match(check.stdout, /bad-record: .*\n {2}hits ledger-vm@[0-9a-f]{8} disk0 bytes \d+ to \d+\n/);
	const repair = await work.cli(["repair", ...key]);
	t.equal(repair.code, 3, "one block is lost");
	t.match(repair.stdout, /moved to quarantine\/[0-9a-f]{32} .*1 damaged, \d+ stored again\nindex rebuilt/);
	for (const file of filesBelow(work.repository))
		for (const word of ["ledger-vm", "disk0", "disk.raw"])
			if (readFileSync(file).includes(word)) t.fail(`${file} holds ${word}`);
	await work.json(["backup", "ledger-vm", "--disk", work.path("disk.raw"), ...key]);
	t.equal((await work.cli(["check", "--read-data", ...key])).code, 0, "the next backup heals");
	rmSync(join(work.repository, "index"), { recursive: true });
	t.equal((await work.cli(["rebuild", ...key])).code, 0);
	t.equal((await work.cli(["check", "--read-data", ...key])).code, 0);
	await work.json(["export", "ledger-vm", "-o", work.path("healed.raw"), ...key]);
	t.ok(readFileSync(work.path("healed.raw")).equals(readFileSync(work.path("disk.raw"))));
});

t.test("the prompt echoes nothing", async (t) => {
	const work = await encryptedWork(t);
	// `script` gives the program a terminal.
	const terminal = spawn("script", ["-qec", `'${process.execPath}' '${MAIN}' points`, "/dev/null"], {
		env: { ...work.env(), NODE_OPTIONS: "" },
		stdio: ["pipe", "pipe", "inherit"],
	});
	let seen = "";
	let typed = false;
	terminal.stdout.setEncoding("utf8").on("data", (text: string) => {
		seen += text;
		if (typed || !seen.includes("Passphrase: ")) return;
		typed = true;
		terminal.stdin.write(`${SECRET}\r`);
	});
	const code = await new Promise((resolve) => terminal.once("exit", resolve));
	t.equal(code, 0, seen);
	t.match(seen, /ledger-vm/);
	t.notMatch(seen, /correct|horse/);
});

t.test(
	"a killed mount process serves again without asking; keys are in no file, argument or environment",
	async (t) => {
		const work = await encryptedWork(t);
		const published = await work.publish(["ledger-vm", "--session", "s"], { SPRINGBACK_PASSPHRASE: SECRET });
		const disk = `${published.ready.url}/disk0-flat.vmdk`;
		await must("qemu-io", ["-f", "raw", "-c", "write -P 7 4096 512", disk]);
		await work.killMountd("s");
		const read = await must("qemu-io", ["-r", "-f", "raw", "-c", "read -P 7 4096 512", disk]);
		t.notMatch(read, /verification failed/);
		const copy = work.path("copy.raw");
		await must("qemu-img", ["convert", "-f", "raw", "-O", "raw", disk, copy]);
		const expected = readFileSync(work.path("disk.raw")).fill(7, 4096, 4608);
		t.ok(readFileSync(copy).equals(expected), "the repository is read with the key that was handed over");

		const pid = await work.mountdPid("s");
		const supervisor = Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
		const { unlockRepository } = await import("../../src/repository/index.js");
		const { master } = (await unlockRepository(work.repository, { passphrase: () => Buffer.from(SECRET) }))!;
		const secrets = [SECRET, master.toString("hex"), master.toString("base64"), master];
		const places = [pid, supervisor].flatMap((p) => [`/proc/${p}/cmdline`, `/proc/${p}/environ`]);
		for (const place of [...places, ...filesBelow(work.state)])
			for (const secret of secrets) if (readFileSync(place).includes(secret)) t.fail(`${place} holds the key`);

		published.process.kill("SIGKILL");
		process.kill(supervisor, "SIGKILL");
		process.kill(pid, "SIGKILL");
		await published.exited;
		// Nothing is left in memory: another command starts a mount process that has no key.
		t.equal((await work.cli(["finish", "s"])).code, 2);
		const [failed] = await work.sessions();
		t.match(failed, { state: "failed", error: /key was only in memory.*springback publish ledger-vm --session s/ });
		const again = await work.publish(["ledger-vm", "--session", "s"], { SPRINGBACK_PASSPHRASE: SECRET });
		t.ok(again.ready.continued);
		const still = await must("qemu-io", ["-r", "-f", "raw", "-c", "read -P 7 4096 512", disk]);
		t.notMatch(still, /verification failed/);
		t.equal(await work.stop(again), 0);
	},
);

t.test("key list, add, change, remove; the recovery key opens when every passphrase is forgotten", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	const run = (args: string[], old: string, next?: string) =>
		work.cli([...args, "--json"], { SPRINGBACK_PASSPHRASE: old, ...(next && { SPRINGBACK_NEW_PASSPHRASE: next }) });
	const made = await run(["init", "--encrypt"], "one");
	const { recoveryKey } = JSON.parse(made.stdout);
	t.match(recoveryKey, /^[A-Z2-7-]{39}$/);
	t.equal((await run(["key", "add"], "one", "two")).code, 0);
	const listed = JSON.parse((await work.cli(["key", "list", "--json"])).stdout) as { id: string; kind: string }[];
	t.same(listed.map(({ kind }) => kind).sort(), ["passphrase", "passphrase", "recovery"]);
	t.equal((await run(["key", "change"], "two", "three")).code, 0);
	t.equal((await run(["points"], "three")).code, 0);
	const first = listed.find(({ kind }) => kind === "passphrase")!;
	t.equal((await run(["key", "remove"], "three")).code, 2, "ID is wanted");
	t.equal((await run(["key", "remove", first.id.slice(0, 8)], recoveryKey)).code, 0);
	t.equal((await run(["key", "paint"], "three")).code, 2);
	t.equal((await run(["key", "add"], recoveryKey, "four")).code, 0);
	t.equal((await work.cli(["key", "add"], { SPRINGBACK_PASSPHRASE: "four" })).code, 2, "no new passphrase");
	t.match((await work.cli(["init", "--encrypt", "--repo", work.path("b")])).stderr, /no passphrase: give --key-file/);
});
