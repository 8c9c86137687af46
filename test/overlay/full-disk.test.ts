/** No space: answered at write, heals, hurts nothing; injected at every write, and on a file system that is really full. */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { OverlayError, openSession, type SessionTree } from "../../src/overlay/index.js";
import { fingerprint, modelFingerprint } from "./crash-lab.js";
import { create, DISK, diskOf, lab, open, pattern, random, temporary } from "./lab.js";
import type { Model } from "./model.js";
import { modelOf } from "./seeded-model.js";

/** A fixed little workload; what answers ENOSPC must not have happened. Returns how often that was. */
const run = async (tree: SessionTree, model: Model): Promise<number> => {
	const disk = diskOf(tree);
	let refused = 0;
	const attempt = async (real: () => Promise<unknown>, act: () => void): Promise<void> => {
		try {
			await real();
			act();
		} catch (error) {
			if (!(error instanceof OverlayError) || error.code !== "ENOSPC") throw error;
			refused++;
		}
	};
	for (let i = 0; i < 12; i++) {
		const data = pattern(i, 3000 + 400 * i, i + 1);
		await attempt(
			() => tree.write(disk, i * 5000, data, i % 2 === 0),
			() => model.write(disk, i * 5000, data),
		);
		if (i % 3 === 0) await tree.commit(disk);
		if (i % 4 === 0) {
			const name = `f${model.nodes.size}-${i}`;
			let id = 0;
			await attempt(
				async () => {
					id = (await tree.create(1, name, { kind: "file", mode: 0o600, uid: 0, gid: 0 })).id;
				},
				() => model.create(1, name, id, "file"),
			);
		}
		if (i === 6) {
			const size = DISK - 60_000;
			await attempt(
				() => tree.change(disk, { size }),
				() => model.resize(disk, size),
			);
		}
		if (i % 5 === 4)
			await attempt(
				async () => (await tree.snapshot(disk)).release(),
				() => undefined,
			);
	}
	return refused;
};

for (const { op, path, short } of [
	{ op: "pwrite", path: "/log", short: undefined },
	{ op: "pwrite", path: "/log", short: 700 },
	{ op: "pwrite", path: "/index", short: undefined },
	{ op: "pwrite", path: "/index", short: 4096 },
	{ op: "fallocate", path: "", short: undefined },
]) {
	t.test(`ENOSPC at every ${op} ${path}${short ? `, after ${short} bytes` : ""}`, async (t) => {
		const parent = temporary(t, true);
		t.teardown(() => faults.clear());
		let refusals = 0;
		for (let skip = 0; skip < 60; skip++) {
			const home = join(parent, `s${skip}`);
			mkdirSync(home);
			const l = lab(home);
			const tree = await create(l);
			const model = modelOf(tree);
			faults.set([{ op, path, error: "ENOSPC", skip, short }]);
			const refused = await run(tree, model);
			refusals += refused;
			faults.clear();
			t.notOk(tree.usage().failed, "a full disk does not stop a session");
			refused > 0 && t.equal(await run(tree, model), 0, `${skip}: it heals`);
			if ((await fingerprint(tree)) !== modelFingerprint(model)) return t.fail(`${skip}: content before closing`);
			await tree.close();
			const again = await open(l);
			if ((await fingerprint(again)) !== modelFingerprint(model)) return t.fail(`${skip}: content after reopening`);
			await again.close();
			rmSync(home, { recursive: true });
			// Beyond the last such call nothing happens any more.
			if (refused === 0 && skip > 40) break;
		}
		t.ok(refusals > 0 || op === "fallocate" || path === "/index", `${refusals} refusals`);
	});
}

t.test("errors that are not about space stop the session", async (t) => {
	t.teardown(() => faults.clear());
	for (const rule of [
		{ op: "pwrite", path: "/log", error: "EIO" },
		{ op: "pwrite", path: "/log", error: "EIO", short: 1000 },
		{ op: "fdatasync", path: "/log", error: "EIO" },
		{ op: "fdatasync", path: "/log", error: "ENOSPC" },
	]) {
		const home = temporary(t, true);
		const l = lab(home);
		const tree = await create(l);
		const model = modelOf(tree);
		const disk = diskOf(tree);
		const first = pattern(1, 5000, 5);
		await tree.write(disk, 1, first, true);
		model.write(disk, 1, first);
		await new Promise((resolve) => setTimeout(resolve, 20));
		const verifier = tree.writeVerifier;
		faults.set([{ ...rule, count: -1 }]);
		await t.rejects(tree.write(disk, 2, pattern(2, 5000, 9), true), { code: "EIO" }, JSON.stringify(rule));
		faults.clear();
		await t.rejects(tree.write(disk, 2, first, false), { code: "EIO" });
		await t.rejects(tree.commit(disk), { code: "EIO" });
		t.notOk(tree.writeVerifier.equals(verifier));
		t.equal(await fingerprint(tree), modelFingerprint(model), "reads see what was acknowledged");
		await tree.close();
		const again = await open(l);
		const found = await fingerprint(again);
		model.write(disk, 2, pattern(2, 5000, 9));
		const whole = modelFingerprint(model);
		model.write(disk, 1, first);
		model.write(disk, 5001, Buffer.concat([pattern(5001, 1, 7)]));
		t.ok([modelFingerprint(model), whole].includes(found), "old or new, and writable again");
		await again.write(disk, 0, first, true);
		await again.close();
	}
});

t.test("a file system that is really full", async (t) => {
	const parent = temporary(t);
	const mount = join(parent, "small");
	mkdirSync(mount);
	try {
		execFileSync("mount", ["-t", "tmpfs", "-o", "size=6m", "tmpfs", mount], { stdio: "ignore" });
	} catch {
		t.comment("not run: mounting needs root");
		return;
	}
	t.teardown(() => execFileSync("umount", ["-l", mount]));
	const home = join(mount, "s");
	mkdirSync(home);
	const l = lab(home, { reserveBytes: 1024 * 1024 });
	let tree = await create(l);
	const model = modelOf(tree);
	const chance = random(5);
	const spec = { kind: "file" as const, mode: 0o600, uid: 0, gid: 0 };
	const big = (await tree.create(1, "big", spec)).id;
	model.create(1, "big", big, "file");
	const fill = async (): Promise<number> => {
		for (let i = 0; i < 3000; i++) {
			const offset = 4096 * chance(2000);
			const data = pattern(offset, 4096, i + 1);
			try {
				await tree.write(big, offset, data, chance(8) === 0);
			} catch (error) {
				t.equal((error as OverlayError).code, "ENOSPC");
				return i;
			}
			model.write(big, offset, data);
		}
		return 3000;
	};
	t.ok((await fill()) < 3000, "the disk fills up");
	await tree.commit(big);
	t.notOk(tree.usage().failed);
	t.equal(await fingerprint(tree), modelFingerprint(model), "everything acknowledged is there");
	// Another file takes the last bytes; remove and truncate still work.
	try {
		writeFileSync(join(mount, "hog"), Buffer.alloc(8 << 20));
	} catch {}
	// Compaction may have made room since; what the file wants is more than there is.
	t.ok((await fill()) < 3000, "full again");
	await tree.change(big, { size: 200_000 });
	model.resize(big, 200_000);
	await tree.remove(tree.lookup(1, "vm")!, "vm.vmx");
	model.remove(tree.lookup(1, "vm")!, "vm.vmx", false);
	await tree.close();
	tree = await openSession({ ...l.options });
	t.equal(await fingerprint(tree), modelFingerprint(model), "also after reopening");
	// Nobody gives anything back but the session itself.
	for (let i = 0, refused = 0; i < 100; i++) {
		const data = pattern(i, 4096, i);
		try {
			await tree.write(big, 4096 * (i % 40), data, true);
		} catch (error) {
			t.equal((error as OverlayError).code, "ENOSPC");
			if (++refused > 50) throw error;
			await new Promise((resolve) => setTimeout(resolve, 10));
			continue;
		}
		model.write(big, 4096 * (i % 40), data);
	}
	t.equal(await fingerprint(tree), modelFingerprint(model), "and it heals");
	await tree.close();
});
