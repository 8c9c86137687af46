/**
 * Crashes at every entry of the trace of a workload. The log is replayed in order and every operation here fits one
 * batch, so what is found after a crash must be the state after exactly the first m operations, for an m that
 * covers all that was acknowledged.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { OverlayError, openSession } from "../../src/overlay/index.js";
import type { Session } from "../../src/overlay/session.js";
import { fingerprint, modelFingerprint, Shadow } from "./crash-lab.js";
import { create, diskOf, lab, pattern, random, temporary } from "./lab.js";
import { modelOf } from "./seeded-model.js";
import { Acknowledged, check, work } from "./worker.js";

for (const { seed, stableShare, steps, from } of [
	{ seed: 11, stableShare: 2, steps: 45, from: 0 },
	{ seed: 12, stableShare: 5, steps: 45, from: 0 },
	{ seed: 13, stableShare: 0, steps: 45, from: 0 },
	// Long enough for compaction; crashes in its last part only.
	{ seed: 14, stableShare: 4, steps: 170, from: 0.7 },
]) {
	t.test(`every prefix of a workload, seed ${seed}`, async (t) => {
		const parent = temporary(t, true);
		const home = join(parent, "s");
		const copy = join(parent, "copy");
		mkdirSync(home);
		const l = lab(home, { reserveBytes: 64 * 1024 });
		const { shadow, trace, states } = await work(l, seed, steps, stableShare);
		const acknowledged = new Acknowledged();
		const chance = random(seed);
		let opened = 0;
		const attempt = async (what: string, index: number, least: number): Promise<void> => {
			opened++;
			const wrong = await check(l, copy, states, least, acknowledged.begun).catch((e: Error) => e.stack);
			if (wrong) throw new Error(`${what} at entry ${index} (${trace[index].op} ${trace[index].path}): ${wrong}`);
		};
		for (const [index, entry] of trace.entries()) {
			if (entry.op === "mark") {
				acknowledged.see(entry.path);
				continue;
			}
			if (index < trace.length * from) {
				shadow.apply(entry);
				continue;
			}
			if (entry.op === "pwrite" && entry.length! > 512) {
				shadow.tear(copy, entry, chance(entry.length! / 512));
				await attempt("torn write", index, acknowledged.any);
			}
			shadow.apply(entry);
			if (entry.op === "pwrite") {
				shadow.kill(copy);
				await attempt("kill", index, acknowledged.any);
			}
			for (let sample = 0; sample < 2; sample++) {
				shadow.powerLoss(copy, chance);
				await attempt("power loss", index, acknowledged.durable);
			}
		}
		t.pass(`${opened} crashes in ${trace.length} entries, ${states.length} states`);
	});
}

t.test("every prefix of making a session", async (t) => {
	const parent = temporary(t, true);
	const home = join(parent, "s");
	const copy = join(parent, "copy");
	mkdirSync(home);
	const l = lab(home, { reserveBytes: 64 * 1024 });
	const shadow = new Shadow(home);
	faults.startTrace();
	const tree = await create(l);
	faults.mark("made");
	const whole = modelFingerprint(modelOf(tree));
	await tree.close();
	const chance = random(3);
	let made = false;
	for (const entry of faults.stopTrace()) {
		if (entry.op === "mark") {
			made = true;
			continue;
		}
		if (entry.path.includes("probe")) continue;
		shadow.apply(entry);
		for (const crash of [() => shadow.kill(copy), () => shadow.powerLoss(copy, chance)]) {
			crash();
			const wrong = await check(l, copy, [whole], 0, 0).catch((error) => {
				if (!made && error instanceof OverlayError && error.code === "ENOENT") return "";
				return String(error);
			});
			if (wrong) t.fail(`after ${entry.op} ${entry.path}: ${wrong}`);
		}
	}
	t.ok(made);
});

t.test("crashes while recovering, and after it", async (t) => {
	const parent = temporary(t, true);
	const [home, copy, again] = ["s", "copy", "again"].map((name) => join(parent, name));
	mkdirSync(home);
	const l = lab(home, { reserveBytes: 64 * 1024 });
	const { shadow, trace, states } = await work(l, 21, 40, 3);
	const chance = random(21);
	const acknowledged = new Acknowledged();
	const writes = trace.filter((entry) => entry.op === "pwrite").length;
	let seen = 0;
	for (const entry of trace) {
		if (entry.op === "mark") {
			acknowledged.see(entry.path);
			continue;
		}
		shadow.apply(entry);
		if (entry.op !== "pwrite" || ++seen % Math.ceil(writes / 6) !== 0) continue;
		// The process dies here; the next one recovers, and dies or loses power on the way.
		shadow.kill(copy);
		const second = shadow.clone(copy);
		faults.startTrace();
		const tree = await openSession({ ...l.options, directory: copy });
		faults.mark("opened");
		const found = await fingerprint(tree);
		const recovery = faults.stopTrace();
		await tree.close();
		const m = states.indexOf(found);
		let opened = false;
		for (const step of recovery) {
			if (step.op === "mark") opened = true;
			else second.apply(step);
			for (const crash of [() => second.kill(again), () => second.powerLoss(again, chance)]) {
				const lossy = crash.toString().includes("powerLoss");
				crash();
				// Once it has answered, what it has is safe; before that, what was safe before.
				const least = opened || !lossy ? m : acknowledged.durable;
				const wrong = await check(l, again, states, least, m).catch((error: Error) => error.stack);
				if (wrong) return t.fail(`${seen}: ${step.op} ${step.path}, ${lossy ? "power loss" : "kill"}: ${wrong}`);
			}
		}
	}
	t.pass();
});

t.test("after a failed sync: pages that look clean and are not on the disk", async (t) => {
	const parent = temporary(t, true);
	const [home, copy, again] = ["s", "copy", "again"].map((name) => join(parent, name));
	mkdirSync(home);
	const l = lab(home, { reserveBytes: 64 * 1024 });
	const tree = await create(l);
	const model = modelOf(tree);
	const disk = diskOf(tree);
	const write = async (offset: number, salt: number, stable: boolean): Promise<void> => {
		const data = pattern(5, 3000, salt);
		await tree.write(disk, offset, data, stable);
		model.write(disk, offset, data);
	};
	await write(100, 50, true);
	// That has the next segment filled, and the sync that is to fail must not be the one of that.
	const { blocks, plan, active } = (tree as Session).engine.segments;
	while (!blocks.isFilled(plan[plan.indexOf(active) + 1])) await new Promise((resolve) => setTimeout(resolve, 1));
	const shadow = new Shadow(home);
	faults.startTrace();
	for (let i = 0; i < 2; i++) await write(9000, 60, false);
	const verifier = Buffer.from(tree.writeVerifier);
	faults.set([{ op: "fdatasync", path: "/log", error: "EIO" }]);
	await t.rejects(tree.commit(disk), { code: "EIO" });
	faults.clear();
	await t.rejects(tree.commit(disk), { code: "EIO" }, "nothing is retried");
	await t.rejects(tree.write(disk, 0, Buffer.from("x"), true), { code: "EIO" });
	await t.rejects(tree.create(1, "x", { kind: "file", mode: 0, uid: 0, gid: 0 }), { code: "EIO" });
	t.notOk(tree.writeVerifier.equals(verifier), "the write verifier changes");
	t.ok(tree.usage().failed);
	t.equal(await fingerprint(tree), modelFingerprint(model), "reads go on");
	for (const entry of faults.stopTrace()) shadow.apply(entry);
	for (const file of shadow.files.values()) file.lose();
	await tree.close();

	shadow.kill(copy);
	const second = shadow.clone(copy);
	faults.startTrace();
	const recovered = await openSession({ ...l.options, directory: copy });
	t.equal(await fingerprint(recovered), modelFingerprint(model), "the kernel still had it");
	for (const entry of faults.stopTrace()) second.apply(entry);
	await recovered.close();
	second.powerLoss(again, random(1));
	const last = await openSession({ ...l.options, directory: again });
	t.equal(await fingerprint(last), modelFingerprint(model), "and now it is on the disk");
	await last.close();
});
