import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { loadIdentity } from "../../src/datastore/identity.js";

const fixed = (n: number) => Buffer.alloc(n, 0xf1);

t.test("made once, kept", async (t) => {
	const path = join(t.testdir(), "datastore.json");
	const made = loadIdentity(path, fixed);
	t.same(loadIdentity(path), made);
	t.equal(statSync(path).mode & 0o777, 0o600, "the key is the owner's alone");
	t.ok(made.fsid < 1n << 63n, "positive for clients that take it as signed");
});

t.test("a damaged one is an error, not a new identity", async (t) => {
	const path = join(t.testdir(), "datastore.json");
	loadIdentity(path, fixed);
	for (const text of ["", "{", "{}", '{"fsid":"12","handleKey":"00"}']) {
		writeFileSync(path, text);
		t.throws(() => loadIdentity(path), /identity is damaged/);
		t.equal(readFileSync(path, "utf8"), text, "and it is left alone");
	}
});

t.test("a crash while making it leaves none", async (t) => {
	t.teardown(() => faults.clear());
	for (const op of ["open", "pwrite", "fsync", "rename"]) {
		const path = join(t.testdir(), "datastore.json");
		faults.set([{ op, path: "datastore.json", skip: op === "open" ? 1 : 0, error: "ENOSPC" }]);
		t.throws(() => loadIdentity(path, fixed), { code: "ENOSPC" });
		faults.clear();
		t.ok(loadIdentity(path, fixed).handleKey.equals(fixed(32)), `made after a failed ${op}`);
	}
});
