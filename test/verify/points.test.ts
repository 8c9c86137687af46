/** Which restore points are verified. */
import t from "tap";
import { choosePoints } from "../../src/verify/choose-points.js";
import { verify } from "../../src/verify/index.js";
import type { PointChoice } from "../../src/verify/model.js";
import { START } from "../repository/helpers.js";
import { Fake, groupPlan, planOf, vmPlan } from "./fake.js";

const DAY = 24 * 60;
/** Four points: minutes since START, by which they are known here. */
const POINTS = [0, 1 * DAY, 8 * DAY, 9 * DAY];

const chosen = async (fake: Fake, points: PointChoice): Promise<number[]> =>
	(await choosePoints(fake.repository, "a", points, fake.world)).map(({ time }) => (Date.parse(time) - START) / 60_000);

t.test("choices", async (t) => {
	const fake = await Fake.with(t, { a: { points: POINTS } });
	const all = (await fake.repository.points("a")).map(({ id }) => id);
	fake.now = () => new Date(START + 10 * DAY * 60_000);
	t.strictSame(await chosen(fake, { which: "latest" }), [9 * DAY]);
	t.strictSame(await chosen(fake, { which: "new" }), [9 * DAY, 8 * DAY, DAY, 0], "the newest first");
	fake.known = new Set([all[0], all[2]]);
	t.strictSame(await chosen(fake, { which: "new" }), [9 * DAY, DAY]);
	fake.known = new Set(all);
	t.strictSame(await chosen(fake, { which: "new" }), []);
	t.strictSame(await chosen(fake, { which: "named", point: all[1].slice(0, 12) }), [DAY]);
	await t.rejects(chosen(fake, { which: "named", point: "ffffffffffff" }), /no restore point/);
	await t.rejects(choosePoints(fake.repository, "zz", { which: "latest" }, fake.world), /no restore point of zz/);
	for (const count of [1, 2, 3, 4, 9])
		for (let roll = 0; roll < 20; roll++) {
			let calls = 0;
			fake.random = (limit) => (roll * 7 + calls++ * 3) % limit;
			const some = await chosen(fake, { which: "random", count, days: null });
			t.equal(new Set(some).size, Math.min(count, POINTS.length), "each once");
			t.strictSame(
				some,
				[...some].sort((a, b) => b - a),
			);
			const young = await chosen(fake, { which: "random", count, days: 3 });
			t.ok(young.every((minute) => minute >= 8 * DAY) && young.length === Math.min(count, 2));
		}
	const seen = new Set<number>();
	for (let roll = 0; roll < 4; roll++) {
		fake.random = () => roll;
		seen.add((await chosen(fake, { which: "random", count: 1, days: null }))[0]);
	}
	t.equal(seen.size, 4, "every point may be it");
});

t.test("a group runs as often as its VM with the most points; who is needed comes along", async (t) => {
	const fake = await Fake.with(t, { db: { points: [0, 5] }, web: { points: [0, 5, 10] }, alone: { points: [0] } });
	const vms = [vmPlan("db"), vmPlan("web", { after: ["db"], points: { which: "new" } }), vmPlan("alone")];
	const report = await verify(planOf([groupPlan("shop", vms)]), fake.world);
	const points = await fake.repository.points();
	const minute = (id: string) => (Date.parse(points.find((point) => point.id === id)!.time) - START) / 60_000;
	t.strictSame(
		report.vms.map(({ vm, point, result }) => [vm, minute(point.id), result]),
		[
			...[
				["db", 5, "passed"],
				["web", 10, "passed"],
				["alone", 0, "passed"],
			],
			...[
				["db", 5, "passed"],
				["web", 5, "passed"],
			],
			...[
				["db", 5, "passed"],
				["web", 0, "passed"],
			],
		],
	);
	t.equal(fake.left, 0);
});

t.test("nothing is new", async (t) => {
	const fake = await Fake.with(t, { a: {} });
	fake.known = new Set((await fake.repository.points()).map(({ id }) => id));
	const plan = planOf([groupPlan("g", [vmPlan("a", { points: { which: "new" } })])]);
	await t.rejects(verify(plan, fake.world), { code: "USAGE", message: /no restore point is to be verified/ });
	t.equal(fake.left, 0);
});
