/**
 * A failure at every file operation of a session's life: of one that is opened after an unclean end, works and is
 * closed, and of one that is made. Each kind of operation fails with EIO, writes also after a part, at its n-th call
 * for every n. Whatever happens, what was acknowledged is there afterwards, for a process that died and, if it was
 * stable, after a power loss; what was not has happened whole or not at all, in order; and the session opens.
 */
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type FaultRule, faults, type TraceEntry } from "../../native/index.js";
import { OverlayError, openSession, type SessionTree } from "../../src/overlay/index.js";
import { fingerprint, modelFingerprint, Shadow } from "./crash-lab.js";
import { create, lab, random, temporary } from "./lab.js";
import { callsOf, descriptors, type Left, leave, some } from "./sweep.js";
import { check, Worker } from "./worker.js";

const SEED = Number(process.env.SPRINGBACK_SEED ?? 31);
const STEPS = 16;

interface Life {
	/** how far it came */
	worker?: Worker;
	/** what an operation, the open or the close failed with */
	error?: unknown;
	failed: boolean;
}

/** Opens, works, closes. */
const live = async ({ l, model }: Left, directory: string): Promise<Life> => {
	let tree: SessionTree;
	try {
		tree = await openSession({ ...l.options, directory });
	} catch (error) {
		return { error, failed: true };
	}
	const worker = new Worker(tree, model.clone(), random(SEED + 1), 3, "new");
	let error: unknown;
	await worker.run(STEPS).catch((cause: unknown) => {
		error = cause;
	});
	const { failed } = tree.usage();
	await tree.close().catch((cause: unknown) => {
		error ??= cause;
	});
	return { worker, error, failed };
};

/**
 * The files after a power loss behind that life. What a failed sync did not write is lost: the pages look clean. A later
 * success says that they were written all the same: of a failed writeback the kernel tells each open file, and one on
 * which a sync failed is not synced again.
 */
const lose = (shadow: Shadow, trace: TraceEntry[], { op, path = "" }: FaultRule): void => {
	for (const entry of trace) if (entry.op !== "mark") shadow.apply(entry);
	if (op === "fdatasync") shadow.files.get(path.slice(1))?.lose();
};

t.test("EIO at every call of a life", async (t) => {
	t.teardown(() => faults.clear());
	const one = await leave(t, SEED);
	const { l, model } = one;
	const [directory, lossy] = ["live", "lossy"].map((name) => join(one.directory, "..", name));
	const fresh = (): void => {
		rmSync(directory, { recursive: true, force: true });
		cpSync(one.directory, directory, { recursive: true });
	};
	fresh();
	const kinds = await callsOf(async () => {
		const { error } = await live(one, directory);
		if (error) throw error;
	});
	const before = modelFingerprint(model);
	const chance = random(SEED);
	let tries = 0;
	let stops = 0;
	const attempt = async (rule: FaultRule): Promise<void> => {
		fresh();
		const shadow = new Shadow(directory);
		const open = descriptors();
		faults.startTrace();
		faults.set([rule]);
		const { worker, error, failed } = await live(one, directory);
		faults.clear();
		const trace = faults.stopTrace();
		tries++;
		if (failed) stops++;
		if (error !== undefined && !(error instanceof OverlayError && error.code === "EIO"))
			throw new Error(`fails with ${error}`, { cause: error });
		if (descriptors() !== open) throw new Error(`${descriptors() - open} descriptors are left open`);
		const { states, any, durable, begun } = worker ?? { states: [before], any: 0, durable: 0, begun: 0 };
		lose(shadow, trace, rule);
		shadow.powerLoss(lossy, chance);
		const wrong = (await check(l, lossy, states, durable, begun)) || (await check(l, directory, states, any, begun));
		if (wrong) throw new Error(wrong);
	};
	for (const { op, path, calls } of kinds)
		for (const short of op === "pwrite" ? [undefined, 512, 5000] : [undefined])
			for (const skip of some(calls)) {
				const rule = { op, path, skip, short, error: "EIO" };
				await attempt(rule).catch((cause: Error) => {
					throw new Error(`${JSON.stringify(rule)}: ${cause.message}`, { cause });
				});
			}
	t.ok(stops > tries / 2, `${stops} of ${tries} failures stopped the session; nothing was lost`);
});

for (const error of ["EIO", "ENOSPC"])
	t.test(`${error} at every call when a session is made`, async (t) => {
		t.teardown(() => faults.clear());
		const parent = temporary(t, true);
		const home = join(parent, "s");
		const l = lab(home, { reserveBytes: 64 * 1024 });
		const fresh = (): void => {
			rmSync(home, { recursive: true, force: true });
			mkdirSync(home);
		};
		fresh();
		let whole = "";
		const kinds = await callsOf(async () => {
			const tree = await create(l);
			whole = await fingerprint(tree);
			await tree.close();
		});
		let refused = 0;
		for (const { op, path, calls } of kinds)
			for (const skip of some(calls)) {
				const what = `${op} ${path}, ${skip}`;
				fresh();
				const open = descriptors();
				faults.set([{ op, path, skip, error }]);
				const made = await create(l).catch((cause: unknown) => cause);
				faults.clear();
				if (made instanceof Error) {
					refused++;
					if (!(made instanceof OverlayError)) throw new Error(`${what}: fails with ${made}`, { cause: made });
				} else await (made as SessionTree).close().catch(() => undefined);
				if (descriptors() !== open) throw new Error(`${what}: ${descriptors() - open} descriptors are left open`);
				// Where it was not completely made it is no session, and can be made again.
				const tree = await openSession(l.options).catch((cause: OverlayError) => {
					if (cause.code !== "ENOENT" || !(made instanceof Error)) throw new Error(`${what}: ${cause}`, { cause });
					return create(l);
				});
				if ((await fingerprint(tree)) !== whole) throw new Error(`${what}: it does not hold what it was made with`);
				await tree.close();
			}
		t.ok(refused > 0, `${refused} refused`);
	});
