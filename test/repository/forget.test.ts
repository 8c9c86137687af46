/** Points that go, and everything that keeps one: holds, sessions, readers, another forget, the last one. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { sys } from "../../native/index.js";
import { type ForgetOptions, openRepository, type Repository } from "../../src/repository/index.js";
import { BLOCK, Dice, fresh, MemoryImage, open, readAll, request, START } from "./helpers.js";

const now = () => new Date(START + 86_400_000);
const image = new MemoryImage(new Dice(1).bytes(BLOCK));
const person = { kind: "person", since: "2026-11-21T00:00:00Z", reason: "audit" } as const;

const withPoints = async (repository: Repository, vm: string, count: number, tags: string[] = []) => {
	const points = [];
	for (let n = 0; n < count; n++)
		points.push((await repository.backup(request(vm, image, n * 60, { tags: n % 2 === 0 ? tags : [] }))).point);
	return points;
};
const byPolicy = (repository: Repository, last: number, more: Partial<ForgetOptions> = {}) =>
	repository.forget({ what: { policy: { last }, vms: [], tags: [] }, now, ...more });
const ids = async (repository: Repository, vm?: string) => (await repository.points(vm)).map(({ id }) => id);

t.test("a policy per VM, shown first and then carried out", async (t) => {
	const repository = await fresh(t);
	const a = await withPoints(repository, "a", 4);
	const b = await withPoints(repository, "b", 1);
	const dry = await byPolicy(repository, 2, { dryRun: true });
	t.match(dry, { dryRun: true, removed: 0, refused: [] });
	t.same(
		dry.points.map(({ id, keep, reasons }) => [id, keep, reasons]),
		[
			[a[0].id, false, []],
			[a[1].id, false, []],
			[a[2].id, true, ["last 2"]],
			[a[3].id, true, ["last 1"]],
			[b[0].id, true, ["last 1"]],
		],
	);
	t.equal((await repository.points()).length, 5, "a dry run removes nothing");
	t.match(await byPolicy(repository, 2), { removed: 2 });
	t.equal((await (await open(t, repository.path)).points()).length, 3, "for others too");
	t.same(await ids(repository, "a"), [a[2].id, a[3].id]);
	t.same(await ids(repository, "b"), [b[0].id]);
	t.ok((await readAll(repository, "a")).equals(image.content));
});

t.test("more than half wants force", async (t) => {
	const repository = await fresh(t);
	await withPoints(repository, "a", 4);
	await withPoints(repository, "b", 2);
	const refused = await byPolicy(repository, 1);
	t.match(refused, { removed: 1, refused: [{ vm: "a", forced: false }] }, "the other VM is not held up");
	t.match(refused.points[0], { keep: true, reasons: ["wants --force"] });
	t.equal((await repository.points("a")).length, 4);
	t.match(await byPolicy(repository, 1, { force: true }), { removed: 3, refused: [{ vm: "a", forced: true }] });
	t.match(await byPolicy(repository, 0, { force: true }), { removed: 0 }, "the last point stays, force or not");
});

t.test("by VM and by tag", async (t) => {
	const repository = await fresh(t);
	const a = await withPoints(repository, "a", 6, ["weekly"]);
	await withPoints(repository, "b", 3);
	t.same(a[0].tags, ["weekly"]);
	const tagged = await repository.forget({ what: { policy: { last: 2 }, vms: [], tags: ["weekly"] }, now });
	t.same(
		tagged.points.map(({ id }) => id),
		[a[0].id, a[2].id, a[4].id],
		"others are not looked at",
	);
	t.equal(tagged.removed, 1);
	t.match(await repository.forget({ what: { policy: { last: 2 }, vms: ["b"], tags: [] }, now }), { removed: 1 });
	t.equal((await repository.points("a")).length, 5);
	const nobody = { what: { policy: { last: 1 }, vms: ["c"], tags: [] }, now };
	await t.rejects(repository.forget(nobody), { code: "UNKNOWN_VM" });
	await t.rejects(repository.backup(request("a", image, 0, { tags: ["two words"] })), { code: "SOURCE" });
});

t.test("held points stay until they are released, also for another process", async (t) => {
	const repository = await fresh(t);
	const [first, second, third] = await withPoints(repository, "a", 3);
	const hold = await repository.hold(first, person);
	const other = await openRepository(repository.path);
	t.match(await byPolicy(other, 2), { removed: 0, points: [{ reasons: ["held: audit"] }, {}, {}] });
	t.match(await other.forget({ what: { specs: [`a@${first.id}`] }, now }), {
		removed: 0,
		points: [{ keep: true, reasons: ["held: audit"] }],
	});
	t.same(await other.holds(), [hold]);
	await other.release(hold);
	await other.close();
	t.same(await repository.holds(), []);
	t.match(await byPolicy(repository, 2), { removed: 1 });
	t.same(await ids(repository), [second.id, third.id]);
	await t.rejects(repository.hold(first, person), { code: "UNKNOWN_POINT" }, "what is gone cannot be held");
});

t.test("points that are read, or used by a session that is not served, stay", async (t) => {
	const repository = await fresh(t);
	const [first, second] = await withPoints(repository, "a", 4);
	const disk = await repository.openDisk(first, "disk0");
	const id = "ab".repeat(16);
	const session = { name: "web", host: "backup1", state: "/var/lib/springback" };
	const use = { id, kind: "session", since: "2026-11-21T00:00:00Z", reason: "", session } as const;
	await repository.hold(second, use);
	await repository.hold(second, use);
	const report = await byPolicy(repository, 2);
	t.match(report, {
		removed: 0,
		points: [{ reasons: ["in use by a reader"] }, { reasons: ["used by session web on backup1"] }],
	});
	await disk.close();
	const told = new Map([[first.id, "used by session db"]]);
	t.match(await byPolicy(repository, 2, { inUse: told }), {
		removed: 0,
		points: [{ reasons: ["used by session db"] }],
	});
	t.match(await byPolicy(repository, 2), { removed: 1 });
	await repository.release({ ...use, point: second.id });
	t.match(await byPolicy(repository, 2), { removed: 1 });
});

t.test("two at once, a damaged hold, an interruption", async (t) => {
	const repository = await fresh(t);
	const [first] = await withPoints(repository, "a", 4);
	const lock = sys.open(join(repository.path, "locks/repository"), 2);
	t.ok(sys.lock(lock, "exclusive", 4, 1));
	await t.rejects(byPolicy(repository, 2), { code: "LOCKED" });
	t.match(await byPolicy(repository, 2, { dryRun: true }), { removed: 0 });
	sys.close(lock);
	await t.rejects(byPolicy(repository, 2, { signal: AbortSignal.abort() }), { code: "INTERRUPTED" });
	await repository.hold(first, person);
	const file = join(repository.path, "holds", readdirSync(join(repository.path, "holds"))[0]);
	const bytes = readFileSync(file);
	for (let at = 0; at < bytes.length; at++) {
		const hurt = Buffer.from(bytes);
		hurt[at] ^= 1 << (at % 8);
		writeFileSync(file, hurt);
		await t.rejects(byPolicy(repository, 2), { code: "DAMAGED" }, `bit flip at ${at}`);
	}
	t.match((await repository.check({ readData: false })).faults, [{ kind: "bad-hold" }]);
	writeFileSync(file, bytes);
	t.match(await byPolicy(repository, 2), { removed: 1 });
});
