/** Restore points that go and stay, from the command line; sessions keep theirs, served or not. */
import { readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { digest, writeDisk } from "./content.js";
import { must, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const MIB = 2 ** 20;

interface Forgot {
	removed: number;
	points: { id: string; keep: boolean; reasons: string[]; removed: boolean }[];
}

const workspace = async (t: { teardown(fn: () => unknown): void }, points: number): Promise<[Workspace, string[]]> => {
	const work = new Workspace();
	t.teardown(() => work.close());
	await work.init();
	const ids: string[] = [];
	for (let n = 0; n < points; n++) {
		writeDisk(work.path("web.raw"), n + 1, 4 * MIB);
		ids.push((await work.backup("web", work.path("web.raw"))).point);
	}
	return [work, ids];
};

t.test("a policy, a hold, and the space", async (t) => {
	const [work, ids] = await workspace(t, 4);
	await work.json(["hold", `web@${ids[0]}`, "--reason", "audit"]);
	const dry = await work.json<Forgot>(["forget", "--keep-last", "2", "--dry-run"]);
	t.same(
		dry.points.map(({ keep, reasons }) => [keep, ...reasons]),
		[[true, "held: audit"], [false], [true, "last 2"], [true, "last 1"]],
	);
	t.equal((await work.json<unknown[]>(["points"])).length, 4);
	t.match(await work.json<Forgot>(["forget", "--keep-last", "2"]), { removed: 1 });
	const plan = await work.json<{ dead: { bytes: number } }>(["prune", "--dry-run"]);
	const pruned = await work.json<{ freed: number; deleted: number }>(["prune", "--max-rewrite", "100%"]);
	t.ok(pruned.freed >= plan.dead.bytes && pruned.deleted > 0, `${pruned.freed} bytes`);
	t.same((await work.json<{ faults: unknown[] }>(["check", "--read-data"])).faults, []);
	const refused = await work.cli(["forget", "web", "--keep-last", "1", "--json"]);
	t.equal(refused.code, 0, "half may go");
	t.match(JSON.parse(refused.stdout), { removed: 1, points: [{ keep: true }, {}, {}] });
	await work.json(["release", `web@${ids[0]}`]);
	t.equal((await work.cli(["forget", "web@latest", `web@${ids[0]}`])).code, 4, "the last ones want --force");
	t.equal((await work.json<unknown[]>(["points"])).length, 2);
});

t.test("a session's point stays: served, parked, in the trash, and where the repository was not told", async (t) => {
	const [work, ids] = await workspace(t, 3);
	const first = `web@${ids[0]}`;
	const forget = () => work.json<Forgot>(["forget", first]);
	const session = await work.publish([first, "--session", "s"]);
	t.match(await forget(), { removed: 0, points: [{ reasons: [/used by session s/] }] });
	await must("nfs-cp", [work.path("web.raw"), "nfs://127.0.0.1/springback/s/new-file"]);
	t.equal(await work.stop(session), 0);
	t.equal((await work.sessions())[0].state, "parked");
	t.match(await forget(), { removed: 0, points: [{ reasons: [/used by session s/] }] });
	const holds = join(work.repository, "holds");
	t.equal(readdirSync(holds).length, 1, "the repository knows");
	const elsewhere = await work.cli(["forget", first, "--json", "--state", work.path("another")]);
	t.match(JSON.parse(elsewhere.stdout), { removed: 0 }, "so another machine does");
	renameSync(holds, work.path("holds"));
	t.match(await forget(), { removed: 0, points: [{ reasons: ["used by session s"] }] });
	renameSync(work.path("holds"), holds);
	await work.json(["prune", "--max-rewrite", "100%"]);
	const again = await work.publish(["web", "--session", "s"]);
	t.equal(again.ready.point, ids[0]);
	t.equal(await work.stop(again), 0);
	await work.json(["finish", "s", "--discard", "--confirm", "s"]);
	t.match(await forget(), { removed: 0 }, "it can be taken back from the trash");
	await work.json(["release", first, "--session", "s"]);
	t.match(await forget(), { removed: 0 }, "this machine has it still");
	const other = await work.cli(["forget", first, "--json", "--state", work.path("another")]);
	t.match(JSON.parse(other.stdout), { removed: 1 });
});

t.test("prune beside a session that is served: packs that it reads move, and it does not notice", async (t) => {
	const [work, ids] = await workspace(t, 6);
	const disk = work.path("web.raw");
	// Of what the session reads, some is in packs that are rewritten, some in small ones that are put together.
	writeDisk(disk, 6, 40 * MIB);
	await work.backup("web", disk);
	const session = await work.publish(["web", "--session", "s", "--cache-size", "4m"]);
	const url = `${session.ready.url}/disk0-flat.vmdk`;
	const read = async (name: string) => {
		await must("qemu-img", ["convert", "-f", "raw", "-O", "raw", url, work.path(name)]);
		return digest(work.path(name));
	};
	t.equal(await read("before.raw"), await digest(disk));
	await work.json(["forget", "--force", ...ids.map((id) => `web@${id}`)]);
	const [during, pruned] = await Promise.all([
		read("during.raw"),
		work.json<{ deleted: number; waiting: { packs: number } }>(["prune", "--max-rewrite", "100%"]),
	]);
	t.equal(during, await digest(disk), "while packs go");
	t.ok(pruned.deleted > 0, `${pruned.deleted} packs deleted`);
	t.equal(pruned.waiting.packs, 0, "a session keeps nothing from being deleted");
	t.equal(await read("after.raw"), await digest(disk), "and after");
	t.equal(await work.stop(session), 0);
	t.same((await work.json<{ faults: unknown[] }>(["check", "--read-data"])).faults, []);
});

t.test("a session that nobody wrote to lets its point go", async (t) => {
	const [work, ids] = await workspace(t, 2);
	const session = await work.publish([`web@${ids[0]}`]);
	t.equal(readdirSync(join(work.repository, "holds")).length, 1);
	t.equal(await work.stop(session), 0);
	t.same(readdirSync(join(work.repository, "holds")), []);
	t.match(await work.json<Forgot>(["forget", `web@${ids[0]}`]), { removed: 1 });
});
