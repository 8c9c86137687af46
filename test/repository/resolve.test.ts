/** How a user names a restore point, and what TIME means around a change of the clocks. */
import t from "tap";
import type { StoredPoint } from "../../src/repository/points.js";
import { resolvePoint } from "../../src/repository/resolve.js";
import { instantsOf, secondsText } from "../../src/repository/time.js";

const point = (id: string, taken: number, vm = "web"): StoredPoint => ({
	version: 1,
	id: id.padEnd(32, "0"),
	vm,
	taken,
	sequence: 1,
	parent: null,
	disks: [],
	consistency: "crash",
	size_new: 0,
	config: null,
	files: [],
	facts: {},
});

const base = Date.UTC(2026, 10, 21, 1, 2, 3);
const points = [
	point("abc1", base),
	point("abc2", base + 60_000 + 999),
	point("dd", base + 3_600_000),
	point("ab", base, "db server"),
];
const found = (spec: string) => resolvePoint(spec, points).id.replace(/0+$/, "");

t.test("latest, prefix, time", async (t) => {
	t.equal(found("web"), "dd");
	t.equal(found("web@latest"), "dd");
	t.equal(found("web@abc1"), "abc1");
	t.equal(found("web@ABC2"), "abc2");
	t.equal(found("db server@ab"), "ab");
	for (const text of [
		"2026-11-21T01:02:03Z",
		"2026-11-21T010203Z",
		"2026-11-21 01:02:59Z",
		"2026-11-21T02:02:03+01:00",
	])
		t.equal(found(`web@${text}`), "abc1", text);
	t.equal(found("web@2026-11-21T01:03:03Z"), "abc2", "includes the whole second");
	t.equal(found("web@2026-11-21T01:03Z"), "abc2", "includes the whole minute");
	t.equal(found("web@2027-01-01"), "dd");
});

t.test("errors say what there is", async (t) => {
	t.throws(() => found("nobody"), { code: "UNKNOWN_VM", message: /db server, web/ });
	t.throws(() => resolvePoint("x", []), { code: "UNKNOWN_VM", message: /no restore points yet/ });
	t.throws(() => found("web@abc"), { code: "AMBIGUOUS", message: /abc1.*abc2/ });
	t.throws(() => found("web@ffff"), { code: "UNKNOWN_POINT", message: /dd/ });
	t.throws(() => found("web@yesterday"), { code: "UNKNOWN_POINT" });
	t.throws(() => found("web@2026-11-21T01:02:02Z"), { code: "UNKNOWN_POINT", message: /oldest is abc1/ });
	t.throws(() => found("web@2026-13-01"), { code: "UNKNOWN_POINT", message: /not a time/ });
	t.throws(() => found("web@2026-02-30T01:00:00Z"), { code: "UNKNOWN_POINT", message: /not a time/ });
});

t.test("local time, the hour that repeats and the hour that is skipped", async (t) => {
	const zone = process.env.TZ;
	t.teardown(() => {
		if (zone === undefined) delete process.env.TZ;
		else process.env.TZ = zone;
	});
	process.env.TZ = "Europe/Berlin";
	t.same(instantsOf("2026-07-01T12:00:00").map(secondsText), ["2026-07-01T10:00:00Z"]);
	t.same(instantsOf("2026-01-01T12:00").map(secondsText), ["2026-01-01T11:00:59Z"]);
	t.same(instantsOf("2026-01-01").map(secondsText), ["2026-01-01T22:59:59Z"]);
	t.same(instantsOf("2026-10-25T02:30:00").map(secondsText), ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
	t.same(instantsOf("2026-10-25T01:30:00").map(secondsText), ["2026-10-24T23:30:00Z"]);
	t.same(instantsOf("2026-03-29T02:30:00"), [], "does not exist");
	t.throws(() => found("web@2026-10-25T02:30:00"), {
		code: "AMBIGUOUS",
		message: /2026-10-25T00:30:00Z or 2026-10-25T01:30:00Z/,
	});
});
