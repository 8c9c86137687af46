/** Sessions side by side, detached, killed, finished, discarded and taken back. */
import { readFileSync, renameSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { writeDisk } from "./content.js";
import { MAIN, must, run, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const MIB = 2 ** 20;

async function twoMachines(t: { teardown(fn: () => unknown): void }): Promise<Workspace> {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	for (const [i, vm] of ["web", "db"].entries()) {
		writeDisk(work.path(`${vm}.raw`), i + 1, 2 * MIB);
		await work.backup(vm, work.path(`${vm}.raw`));
	}
	return work;
}

t.test("two at once through one mount process", async (t) => {
	const work = await twoMachines(t);
	const web = await work.publish(["web", "--session", "w"]);
	const db = await work.publish(["db", "--session", "d"]);
	t.equal(await work.mountdPid("w"), await work.mountdPid("d"), "one process serves both");
	const list = (url: string) => must("nfs-ls", [url]);
	t.match(await list("nfs://127.0.0.1/springback/w"), /disk0-flat\.vmdk/, "one is mountable alone");
	t.match(await list("nfs://127.0.0.1/springback/d"), /db\.vmx/, "and so is the other");
	const root = await list("nfs://127.0.0.1/springback");
	t.match(root, / w\n/, "both are under /springback");
	t.match(root, / d\n/);
	for (const vm of ["w", "d"]) {
		const out = work.path(`${vm}.out`);
		await must("qemu-img", [
			"convert",
			"-O",
			"raw",
			"-f",
			"raw",
			`nfs://127.0.0.1/springback/${vm}/disk0-flat.vmdk`,
			out,
		]);
		t.ok(
			readFileSync(out).equals(readFileSync(work.path(vm === "w" ? "web.raw" : "db.raw"))),
			`${vm} has its own content`,
		);
	}
	t.equal(await work.stop(web), 0);
	t.not((await run("nfs-ls", ["nfs://127.0.0.1/springback/w"])).code, 0, "an ended session is not mountable");
	t.match(await list("nfs://127.0.0.1/springback/d"), /db\.vmx/, "the other goes on");
	t.equal(await work.stop(db), 0);
});

t.test("a killed terminal does not end a detached session", async (t) => {
	const work = await twoMachines(t);
	// script(1) gives the command a terminal of its own, which is then taken away.
	const command = `${process.execPath} ${MAIN} publish web --session w --detach; sleep 60`;
	const { spawn } = await import("node:child_process");
	const terminal = spawn("script", ["-qfec", command, "/dev/null"], {
		env: work.env(),
		stdio: ["pipe", "pipe", "ignore"],
	});
	await new Promise<void>((resolve) => {
		terminal.stdout.on("data", (text: Buffer) => text.includes("ready") && resolve());
	});
	terminal.kill("SIGKILL");
	await new Promise((resolve) => terminal.once("exit", resolve));
	await new Promise((resolve) => setTimeout(resolve, 300));
	t.match(await must("nfs-ls", ["nfs://127.0.0.1/springback/w"]), /web\.vmx/);
	const pause = await work.killMountd("w");
	t.comment(`back after ${pause} ms`);
	t.match(
		await must("nfs-ls", ["nfs://127.0.0.1/springback/w"]),
		/web\.vmx/,
		"a killed mount process comes back by itself",
	);
	t.equal((await work.cli(["finish", "w"])).code, 0, "finish of an unwritten session needs no flag");
	t.same(await work.sessions(), [], "and leaves nothing");
});

t.test("what was written is not lost by accident", async (t) => {
	const work = await twoMachines(t);
	const published = await work.publish(["web", "--session", "w"]);
	const disk = "nfs://127.0.0.1/springback/w/disk0-flat.vmdk";
	await must("qemu-io", ["-f", "raw", "-c", "write -P 7 1000 5000", "-c", "flush", disk]);
	const bare = await work.cli(["finish", "w"]);
	t.equal(bare.code, 2, "finish without a flag is refused");
	t.match(bare.stderr, /--keep.*--discard/);
	const unconfirmed = await work.cli(["finish", "w", "--discard"]);
	t.equal(unconfirmed.code, 2, "discard wants the name again");
	t.match(unconfirmed.stderr, /last write/, "and prints what would go");

	const { spawn } = await import("node:child_process");
	const user = spawn("qemu-io", ["-f", "raw", disk], { stdio: ["pipe", "pipe", "inherit"] });
	user.stdin.write("read 0 512\n");
	await new Promise((resolve) => user.stdout.once("data", resolve));
	const busy = await work.cli(["finish", "w", "--discard", "--confirm", "w"]);
	t.equal(busy.code, 1, "refused while a client uses it");
	t.match(busy.stderr, /in use/);
	user.stdin.end("quit\n");
	await new Promise((resolve) => user.once("exit", resolve));

	const info = (await work.sessions()).find(({ session }) => session === "w");
	t.ok(info?.unprotectedSince, "sessions shows since when it is unprotected");
	t.equal((await work.cli(["finish", "w", "--keep"])).code, 0);
	await published.exited;
	t.equal((await work.sessions())[0].state, "parked");
	t.equal((await work.cli(["finish", "w", "--discard", "--confirm", "w"])).code, 0);
	t.equal((await work.sessions())[0].state, "trash");
	t.equal((await work.cli(["sessions", "restore", "w"])).code, 0);
	const again = await work.publish(["web", "--session", "w"]);
	const read = await must("qemu-io", ["-r", "-f", "raw", "-c", "read -P 7 1000 5000", disk]);
	t.notMatch(read, /verification failed/, "what was in the trash is back");
	await work.stop(again);
});

t.test("a session that cannot be served is not taken for empty", async (t) => {
	const work = await twoMachines(t);
	const published = await work.publish(["web", "--session", "w"]);
	await must("qemu-io", ["-f", "raw", "-c", "write -P 7 0 512", "nfs://127.0.0.1/springback/w/disk0-flat.vmdk"]);
	const pid = await work.mountdPid("w");
	const supervisor = Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
	published.process.kill("SIGKILL");
	process.kill(supervisor, "SIGKILL");
	process.kill(pid, "SIGKILL");
	renameSync(work.repository, work.path("elsewhere"));
	t.equal((await work.cli(["finish", "w"])).code, 2, "what was written last is not known");
	t.equal((await work.sessions())[0].state, "failed");
	renameSync(work.path("elsewhere"), work.repository);
	const again = await work.publish(["web", "--session", "w"]);
	const read = await must("qemu-io", [
		"-r",
		"-f",
		"raw",
		"-c",
		"read -P 7 0 512",
		`${again.ready.url}/disk0-flat.vmdk`,
	]);
	t.notMatch(read, /verification failed/, "and it is all there");
	await work.stop(again);
});

t.test("ending an unnamed session that cannot be served keeps it", async (t) => {
	const work = await twoMachines(t);
	const published = await work.publish(["web"]);
	const { session, url } = published.ready;
	await must("qemu-io", ["-f", "raw", "-c", "write -P 9 0 512", `${url}/disk0-flat.vmdk`]);
	const pid = await work.mountdPid(session);
	renameSync(work.repository, work.path("elsewhere"));
	process.kill(pid, "SIGKILL");
	while (
		!(await work.sessions()).some(({ state, error }) => state === "failed" && /elsewhere|repository/.test(error ?? ""))
	)
		await new Promise((resolve) => setTimeout(resolve, 100));
	t.equal(await work.stop(published), 0);
	t.equal((await work.sessions())[0]?.state, "parked", "nobody knows what it holds, so it is kept");
});

t.test("a session is of one VM and one point", async (t) => {
	const work = await twoMachines(t);
	const published = await work.publish(["web", "--session", "w"]);
	const other = await work.cli(["publish", "db", "--session", "w", "--detach"]);
	t.equal(other.code, 2);
	t.match(other.stderr, /web@/);
	await work.stop(published);
	await work.backup("web", work.path("db.raw"));
	const again = await work.publish(["web", "--session", "w"]);
	t.equal(again.ready.point, published.ready.point, "continuing keeps the point, whatever is newest now");
	await work.stop(again);
	for (const name of ["../x", "", "-a", "a/b", "x".repeat(65)])
		t.equal((await work.cli(["publish", "web", `--session=${name}`, "--detach"])).code, 2, `session name "${name}"`);
});
