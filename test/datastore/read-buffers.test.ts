import t from "tap";
import { ReadBuffers } from "../../src/datastore/read-buffers.js";

t.test("large buffers are used again", async (t) => {
	const buffers = new ReadBuffers();
	const first = buffers.take(1_000_000);
	t.equal(first.length, 1_000_000);
	const second = buffers.take(1_000_000);
	t.not(first.buffer, second.buffer, "two that are out at once are two");
	buffers.give(first);
	const third = buffers.take(600_000);
	t.equal(third.buffer, first.buffer);
	t.equal(third.length, 600_000);
	t.equal(buffers.kept, 0);
});

t.test("a buffer of the same length is the same object again", async (t) => {
	const buffers = new ReadBuffers();
	const first = buffers.take(4096);
	buffers.give(first);
	t.equal(buffers.take(4096), first);
	t.not(buffers.take(4096), first);
});

t.test("what is kept is bounded", async (t) => {
	const buffers = new ReadBuffers();
	const out = Array.from({ length: 100 }, () => buffers.take(2 ** 20));
	for (const buffer of out) buffers.give(buffer);
	t.equal(buffers.kept, 32 * 2 ** 20);
	const small = buffers.take(512);
	buffers.give(small);
	t.equal(buffers.kept, 32 * 2 ** 20, "small ones are not kept");
});
