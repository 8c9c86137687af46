import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import type { SessionRecord } from "../../src/mountd/session-record.js";
import { SessionStore, type StoredSession } from "../../src/mountd/session-store.js";

const DAY = 86_400_000;
const NOW = new Date("2026-11-21T00:00:00Z");

function make(store: SessionStore, name: string): StoredSession {
	const { directory, uuid, number } = store.allocate();
	const record: SessionRecord = {
		version: 1,
		uuid: uuid.toString("hex"),
		name,
		number,
		state: "open",
		named: true,
		repository: "/repo",
		repositoryId: "0".repeat(32),
		point: "1".repeat(32),
		pointTime: "2026-11-20T00:00:00Z",
		vm: "vm",
		disks: [],
		created: NOW.toISOString(),
		listen: "127.0.0.1",
		clients: [],
		ownerUid: 0,
		readOnly: false,
		unprotectedSince: null,
		lastWrite: null,
		writtenBytes: 0,
	};
	const stored = { directory, record };
	store.save(stored);
	return stored;
}

t.test("numbers are never reused", async (t) => {
	const state = t.testdir();
	const store = new SessionStore(state);
	t.equal(make(store, "a").record.number, 1);
	const b = make(store, "b");
	t.equal(b.record.number, 2);
	store.remove(b.directory);
	t.equal(make(store, "c").record.number, 3, "not after a removal");
	rmSync(store.paths.counter);
	t.equal(make(new SessionStore(state), "d").record.number, 4, "not when the counter is lost");
	writeFileSync(store.paths.counter, "nonsense");
	t.throws(() => store.allocate(), { code: "DAMAGED" });
});

t.test("a session without its record was never made", async (t) => {
	const store = new SessionStore(t.testdir());
	mkdirSync(join(store.paths.sessions, "half"));
	t.same(store.list(), { sessions: [], broken: [] });
	make(store, "a");
	const broken = make(store, "b");
	writeFileSync(join(broken.directory, "session.json"), "{");
	t.equal(store.list().sessions.length, 1);
	t.match(store.list().broken, [{ error: /not readable/ }], "a damaged one is shown, not skipped");
});

t.test("a record is old or new after a failed write", async (t) => {
	const store = new SessionStore(t.testdir());
	const stored = make(store, "a");
	t.teardown(() => faults.clear());
	for (const op of ["pwrite", "fsync", "rename"]) {
		faults.set([{ op, path: "session.json", error: "ENOSPC" }]);
		t.throws(() => store.save({ ...stored, record: { ...stored.record, state: "parked" } }), { code: "ENOSPC" });
		faults.clear();
		t.equal(store.find("a")?.record.state, "open", `old after a failed ${op}`);
	}
});

t.test("trash", async (t) => {
	const store = new SessionStore(t.testdir());
	const stored = make(store, "a");
	store.discard(stored, NOW);
	t.equal(store.find("a"), undefined);
	t.same(store.purge(new Date(NOW.getTime() + 6.9 * DAY)), [], "kept for seven days");
	t.equal((await store.restore("a")).state, "parked");
	t.equal(store.find("a")?.record.trashed, undefined);
	await t.rejects(store.restore("a"), { code: "UNKNOWN_SESSION" });
	const again = store.find("a") as StoredSession;
	store.discard(again, NOW);
	make(store, "a");
	await t.rejects(store.restore("a"), { code: "EXISTS" }, "never two of one name");
	t.same(store.purge(new Date(NOW.getTime() + 7 * DAY)), ["a"]);
	t.notOk(existsSync(again.directory), "deleted after seven days");
	t.ok(store.find("a"), "and only that one");
});

t.test("changes of the set are serialized", async (t) => {
	const store = new SessionStore(t.testdir());
	const order: string[] = [];
	await Promise.all([
		store.exclusively(async () => {
			order.push("a in");
			await new Promise((resolve) => setTimeout(resolve, 30));
			order.push("a out");
		}),
		new SessionStore(store.paths.directory).exclusively(() => {
			order.push("b");
		}),
	]);
	t.same(order, ["a in", "a out", "b"]);
});
