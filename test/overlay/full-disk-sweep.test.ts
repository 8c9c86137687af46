/**
 * A full disk at every file operation of a session that is opened after an unclean end, works and is closed: once, a
 * few times, or from then on. What is refused has not happened, what is acknowledged has, nothing stops, and with space
 * again the session takes everything.
 */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { type FaultRule, faults } from "../../native/index.js";
import { OverlayError, openSession, type SessionTree } from "../../src/overlay/index.js";
import { fingerprint, modelFingerprint } from "./crash-lab.js";
import { DISK, diskOf, pattern } from "./lab.js";
import type { Model } from "./model.js";
import { callsOf, descriptors, leave, some } from "./sweep.js";

/** How many calls find the disk full; -1: all from then on. */
const COUNTS = process.env.SPRINGBACK_LONG ? [1, 3, -1] : [1, -1];
const SPEC = { kind: "file" as const, mode: 0o600, uid: 0, gid: 0 };
/** Writes that wait together; each has a part of the disk of its own, so that any of them may be refused. */
const TOGETHER = 4;
const PART = DISK / TOGETHER;

type Refusal = (error: unknown) => boolean;
const isFull: Refusal = (error) => error instanceof OverlayError && error.code === "ENOSPC";
const isFullOrStopped: Refusal = (error) => isFull(error) || (error instanceof OverlayError && error.code === "EIO");

/** What a call does to a model. `tree`: for what only the session knows. */
type Act = (model: Model, tree: SessionTree) => void;

/** What became of changes. */
interface Outcome {
	refused: number;
	/** refused because the session stopped: in this order, as many as were in the last batch may be in the log */
	doubtful: Act[];
}

/** Changes that are refused or happen, in groups. */
const work = async (tree: SessionTree, model: Model, label: string, isRefusal = isFull): Promise<Outcome> => {
	const disk = diskOf(tree);
	let refused = 0;
	const doubtful: Act[] = [];
	const together = async (...calls: [real: () => Promise<unknown>, act: Act][]): Promise<void> => {
		const stopped = tree.usage().failed;
		const outcomes = await Promise.allSettled(calls.map(([real]) => real()));
		for (const [index, outcome] of outcomes.entries()) {
			const [, act] = calls[index];
			if (outcome.status === "fulfilled") act(model, tree);
			else if (!isRefusal(outcome.reason)) throw outcome.reason;
			else {
				refused++;
				if (!stopped && !isFull(outcome.reason)) doubtful.push(act);
			}
		}
	};
	const made =
		(name: string): Act =>
		(model, tree) => {
			const id = tree.lookup(1, name);
			if (id !== undefined) model.create(1, name, id, "file");
		};
	for (let i = 0; i < 9; i++) {
		await together(
			...Array.from({ length: TOGETHER }, (_, part): [() => Promise<unknown>, Act] => {
				const offset = Math.floor(part * PART + i * 3700);
				const data = pattern(offset, 1500 + 700 * part + 100 * i, label.length + 10 * i + part);
				return [() => tree.write(disk, offset, data, part === 0), (model) => model.write(disk, offset, data)];
			}),
		);
		if (i % 3 === 1) await together([() => tree.commit(disk), () => undefined]);
		const [one, other] = [`${label}-${i}`, `${label}-${i}-other`];
		await together([() => tree.create(1, one, SPEC), made(one)], [() => tree.create(1, other, SPEC), made(other)]);
		if (model.node(1).entries.has(one))
			await together([
				() => tree.rename(1, one, 1, `${one}-moved`),
				(model) => model.rename(1, one, 1, `${one}-moved`),
			]);
		if (i % 2 === 0 && model.node(1).entries.has(other))
			await together([() => tree.remove(1, other), (model) => model.remove(1, other, false)]);
		const size = DISK - 1000 * i;
		if (i % 4 === 3) await together([() => tree.change(disk, { size }), (model) => model.resize(disk, size)]);
		if (i % 4 === 2) await together([async () => (await tree.snapshot(disk)).release(), () => undefined]);
	}
	return { refused, doubtful };
};

/** The model that the session is like: with none of the doubtful changes, or the first so many. */
const matching = async (tree: SessionTree, model: Model, doubtful: Act[]): Promise<Model | undefined> => {
	const found = await fingerprint(tree);
	for (let count = 0; count <= doubtful.length; count++) {
		const candidate = model.clone();
		for (const act of doubtful.slice(0, count)) act(candidate, tree);
		if (modelFingerprint(candidate) === found) return candidate;
	}
	return undefined;
};

t.test("ENOSPC at every call of a life", async (t) => {
	t.teardown(() => faults.clear());
	const one = await leave(t, 41);
	const directory = join(one.directory, "../live");
	const options = { ...one.l.options, directory };
	const fresh = (): void => {
		rmSync(directory, { recursive: true, force: true });
		cpSync(one.directory, directory, { recursive: true });
	};
	fresh();
	const kinds = await callsOf(async () => {
		const tree = await openSession(options);
		await work(tree, one.model.clone(), "counted");
		await tree.close();
	});
	let [tries, refusals, refusedOpens] = [0, 0, 0];
	const attempt = async (rule: FaultRule): Promise<void> => {
		fresh();
		tries++;
		let model = one.model.clone();
		let doubtful: Act[] = [];
		const open = descriptors();
		// A superblock that can neither be written nor taken back, in a place that is allocated, is no full disk any more.
		const mayStop = rule.path === "/index" && rule.count !== 1;
		const isRefusal = mayStop ? isFullOrStopped : isFull;
		faults.set([rule]);
		const first = await openSession(options).catch((error: unknown) => {
			if (!isRefusal(error)) throw error;
			refusedOpens++;
		});
		if (first) {
			const outcome = await work(first, model, "full", isRefusal);
			refusals += outcome.refused;
			doubtful = outcome.doubtful;
			if (first.usage().failed && !mayStop) throw new Error(`it stopped: ${first.usage().failure}`);
			if ((await fingerprint(first)) !== modelFingerprint(model)) throw new Error("content before closing");
			await first.close().catch((error: unknown) => {
				if (!isRefusal(error)) throw error;
			});
		}
		faults.clear();
		if (descriptors() !== open) throw new Error(`${descriptors() - open} descriptors are left open`);
		const second = await openSession(options);
		const found = await matching(second, model, doubtful);
		if (!found) throw new Error("content after opening again");
		model = found;
		if ((await work(second, model, "again")).refused > 0) throw new Error("it refuses though there is space");
		await second.close();
		const third = await openSession(options);
		if ((await fingerprint(third)) !== modelFingerprint(model)) throw new Error("content at last");
		await third.close();
	};
	for (const { op, path, calls } of kinds) {
		// What a full disk does not refuse.
		if (["open", "pread", "fdatasync"].includes(op)) continue;
		for (const short of op === "pwrite" ? [undefined, 4096] : [undefined])
			for (const count of COUNTS)
				for (const skip of some(calls)) {
					const rule = { op, path, skip, short, count, error: "ENOSPC" };
					await attempt(rule).catch((cause: Error) => {
						throw new Error(`${JSON.stringify(rule)}: ${cause.message}`, { cause });
					});
				}
	}
	t.ok(refusals > tries, `${tries} full disks: ${refusals} changes and ${refusedOpens} opens refused, nothing lost`);
});
