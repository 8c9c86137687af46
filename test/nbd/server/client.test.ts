/** Our own client against our server: a disk that is written at random stays what a shadow says. */
import { randomBytes } from "node:crypto";
import t from "tap";
import { connectNbd } from "../../../src/nbd/index.js";
import { served } from "./served.js";

const SIZE = 3 * 1024 * 1024 + 1234;

for (const mode of ["sync", "async", "lend"] as const)
	t.test(`random operations, many at a time, ${mode}`, async (t) => {
		const it = await served(t, { size: SIZE });
		it.disk.mode = mode;
		const shadow = Buffer.alloc(SIZE);
		// What one connection wrote, the other one reads.
		const images = [await connectNbd(it.uri), await connectNbd(it.uri)];
		t.teardown(() => Promise.all(images.map((image) => image.close())));
		t.match(images[0], { size: SIZE, readOnly: false, hasExtents: true, preferredBlock: 4096 });
		for (let round = 0; round < 60; round++) {
			const work: Promise<unknown>[] = [];
			// Each in a region of its own: what overlaps has no order.
			for (let region = 0; region < 8; region++) {
				const start = region * 390_000 + Math.floor(Math.random() * 195_000);
				const length = 1 + Math.floor(Math.random() * 190_000);
				const image = images[region % 2];
				if (Math.random() < 0.3) {
					shadow.fill(0, start, start + length);
					work.push(image.writeZeroes(start, length, Math.random() < 0.5));
				} else {
					const data = randomBytes(length);
					data.copy(shadow, start);
					work.push(image.write(start, data));
				}
			}
			await Promise.all(work);
			const offset = Math.floor(Math.random() * SIZE);
			const target = Buffer.alloc(Math.floor(Math.random() * (SIZE - offset)), 0xee);
			await images[round % 2].read(offset, target);
			if (!target.equals(shadow.subarray(offset, offset + target.length))) t.fail(`round ${round}`);
		}
		await images[0].flush();
		t.ok(it.disk.stable.equals(shadow), "a flush of one covers the writes of both");
		for (const { offset, length, kind } of await images[1].extents(0, SIZE))
			if (kind !== "data")
				t.ok(
					shadow.subarray(offset, offset + length).every((byte) => byte === 0),
					kind,
				);
	});

t.test("a read-only export", async (t) => {
	const it = await served(t);
	const image = await connectNbd(it.uri.replace("disk", "fixed"));
	t.teardown(() => image.close());
	t.equal(image.readOnly, true);
	await t.rejects(image.write(0, Buffer.alloc(512)), /read-only/);
});

t.test("an export that does not exist", async (t) => {
	const it = await served(t);
	await t.rejects(connectNbd(it.uri.replace("disk", "other")), /no such export/);
});
