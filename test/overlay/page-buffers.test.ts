/** Buffers of log pages: the same memory again, and a bound on what is kept. */
import t from "tap";
import { PageBuffers } from "../../src/overlay/page-buffers.js";

t.test("a buffer that was given back is taken again, by its length", async (t) => {
	const buffers = new PageBuffers();
	const [small, large] = [buffers.take(4096), buffers.take(8192)];
	t.same([small.length, large.length], [4096, 8192]);
	t.not(buffers.take(4096), small, "two that are out at once are two");
	buffers.give(small);
	buffers.give(large);
	t.equal(buffers.take(8192), large);
	t.equal(buffers.take(4096), small);
	t.not(buffers.take(4096), small);
});

t.test("what is kept is bounded", async (t) => {
	const buffers = new PageBuffers();
	const out = Array.from({ length: 40 }, () => buffers.take(256 * 1024));
	for (const buffer of out) buffers.give(buffer);
	const again = new Set(Array.from({ length: 40 }, () => buffers.take(256 * 1024)));
	t.equal(out.filter((buffer) => again.has(buffer)).length, 16, "4 MiB of them");
});
