/** Requests that name the same things wait for one another, in order; others do not. */
import t from "tap";
import { Turns } from "../../src/mountd/turns.js";

/** Requests by name: what has begun and what has ended, and a way to end each. */
const lab = () => {
	const turns = new Turns();
	const seen: string[] = [];
	const ends = new Map<string, (error?: Error) => void>();
	const request = (name: string, ...things: string[]): Promise<string> =>
		turns.take(things, async () => {
			seen.push(name);
			await new Promise<void>((resolve, reject) => ends.set(name, (error) => (error ? reject(error) : resolve())));
			return name;
		});
	const settle = () => new Promise((resolve) => setImmediate(resolve));
	return { turns, seen, ends, request, settle };
};

t.test("same things: one at a time, in order, also after a failure", async (t) => {
	const { turns, seen, ends, request, settle } = lab();
	const first = request("first", "repository a");
	const second = request("second", "repository a", "session x");
	const third = request("third", "session x");
	await settle();
	t.same(seen, ["first"]);
	ends.get("first")!(new Error("no"));
	await t.rejects(first, /no/);
	await settle();
	t.same(seen, ["first", "second"]);
	t.equal(turns.none, false);
	ends.get("second")!();
	t.equal(await second, "second");
	await settle();
	t.same(seen, ["first", "second", "third"]);
	ends.get("third")!();
	await third;
	await turns.idle();
	await settle();
	t.equal(turns.none, true);
});

t.test("other things go on beside", async (t) => {
	const { seen, ends, request, settle } = lab();
	const hung = request("hung", "repository a");
	const other = request("other", "repository b");
	await settle();
	t.same(seen, ["hung", "other"]);
	ends.get("other")!();
	t.equal(await other, "other");
	ends.get("hung")!();
	await hung;
});
