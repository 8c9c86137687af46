/** For tests that let every file operation fail in turn: which there are, and a session to begin with. */
import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Test } from "tap";
import { faults } from "../../native/index.js";
import { create, type Lab, lab, random, temporary } from "./lab.js";
import type { Model } from "./model.js";
import { modelOf } from "./seeded-model.js";
import { Worker } from "./worker.js";

/** At most this many calls of a kind are made to fail, evenly spread. */
const CALLS = process.env.SPRINGBACK_LONG ? 1000 : 12;

/** A session that a process left without closing it. */
export interface Left {
	l: Lab;
	/** its files */
	directory: string;
	model: Model;
}

export const leave = async (t: Test, seed: number): Promise<Left> => {
	const parent = temporary(t, true);
	const home = join(parent, "made");
	const directory = join(parent, "left");
	mkdirSync(home);
	const l = lab(home, { reserveBytes: 64 * 1024 });
	const tree = await create(l);
	const worker = new Worker(tree, modelOf(tree), random(seed), 3, "old");
	await worker.run(30);
	cpSync(home, directory, { recursive: true });
	await tree.close();
	return { l, directory, model: worker.model };
};

/** How many calls of each kind `act` makes on each file. Reads are not recorded, so that they are guessed. */
export const callsOf = async (act: () => Promise<void>): Promise<{ op: string; path: string; calls: number }[]> => {
	faults.startTrace();
	await act();
	const kinds = new Map([["pread", { op: "pread", path: "", calls: 40 }]]);
	for (const { op, path: whole } of faults.stopTrace()) {
		if (op === "mark") continue;
		const path = whole.slice(whole.lastIndexOf("/"));
		const kind = kinds.get(op + path) ?? { op, path, calls: 0 };
		kind.calls++;
		kinds.set(op + path, kind);
	}
	return [...kinds.values()];
};

/** Numbers below `calls`, not more than CALLS. */
export const some = (calls: number): number[] => {
	const count = Math.min(calls, CALLS);
	return Array.from({ length: count }, (_, i) => Math.floor((i * calls) / count));
};

export const descriptors = (): number => readdirSync("/proc/self/fd").length;
