/** A workload that marks in the trace what was asked for and what was acknowledged, and what must be found after it. */
import { faults, type TraceEntry } from "../../native/index.js";
import { openSession, type SessionTree } from "../../src/overlay/index.js";
import type { Session } from "../../src/overlay/session.js";
import { fingerprint, modelFingerprint, Shadow } from "./crash-lab.js";
import { create, DISK, diskOf, type Lab, pattern, random } from "./lab.js";
import type { Model } from "./model.js";
import { modelOf } from "./seeded-model.js";

export interface Workload {
	/** the files when the trace began */
	shadow: Shadow;
	trace: TraceEntry[];
	/** fingerprints: states[m] after the first m operations */
	states: string[];
}

/**
 * Runs operations until one fails; marks in the trace when each begins and is acknowledged. Operations in flight
 * together have ended when `run` ends.
 */
export class Worker {
	readonly states: string[] = [];
	/** operations asked for, acknowledged, and acknowledged as durable: numbers of the last */
	begun = 0;
	any = 0;
	durable = 0;
	constructor(
		readonly tree: SessionTree,
		readonly model: Model,
		readonly chance: (limit: number) => number,
		/** one of this many writes is stable; 0: none */
		readonly stableShare = 2,
		/** of the names that it makes */
		readonly prefix = "f",
	) {
		this.states.push(modelFingerprint(model));
	}

	/** `kind`: "s" acknowledged as durable, "u" as unstable. */
	async #do(kind: "s" | "u", real: () => Promise<unknown>, model: () => void): Promise<void> {
		const number = ++this.begun;
		faults.mark(`begin ${number}`);
		const pending = real();
		model();
		this.states.push(modelFingerprint(this.model));
		await pending;
		this.#acknowledged(number, kind);
	}

	#acknowledged(number: number, kind: "s" | "u"): void {
		this.any = Math.max(this.any, number);
		if (kind === "s") this.durable = Math.max(this.durable, number);
		faults.mark(`ack ${number} ${kind}`);
	}

	async #commit(): Promise<void> {
		const number = this.begun;
		await this.tree.commit(diskOf(this.tree));
		this.#acknowledged(number, "s");
	}

	async run(steps: number): Promise<void> {
		const { chance, tree } = this;
		for (let i = 0; i < steps; i++) {
			const dice = chance(20);
			if (dice < 12) {
				const writes = await Promise.allSettled(Array.from({ length: 1 + chance(5) }, () => this.#write()));
				for (const write of writes) if (write.status === "rejected") throw write.reason;
				if (chance(4) === 0) await this.#commit();
			} else if (dice < 14) {
				const size = 1 + chance(DISK);
				const disk = diskOf(tree);
				await this.#do(
					"s",
					() => tree.change(disk, { size }),
					() => this.model.resize(disk, size),
				);
			} else if (dice < 18) await this.#names();
			else (await tree.snapshot(diskOf(tree))).release();
		}
	}

	async #write(): Promise<void> {
		const { chance, tree } = this;
		const disk = diskOf(tree);
		const length = 1 + chance(chance(3) === 0 ? 8000 : 3000);
		const offset = chance(2) === 0 ? 512 * chance(300) : chance(DISK - length);
		const data = pattern(offset, length, 1 + this.begun);
		const stable = this.stableShare > 0 && chance(this.stableShare) === 0;
		await this.#do(
			stable ? "s" : "u",
			() => tree.write(disk, offset, data, stable),
			() => this.model.write(disk, offset, data),
		);
	}

	async #names(): Promise<void> {
		const { chance, tree, model } = this;
		const { entries } = model.node(1);
		const names = [...entries.keys()].filter((name) => name !== "vm");
		const name = names[chance(names.length)];
		const fresh = `${this.prefix}${this.begun}`;
		if (names.length < 3) {
			// The identity is known before: they are handed out in order.
			const id = (tree as Session).engine.state.nextInode;
			const spec = { kind: "file" as const, mode: 0o600, uid: 0, gid: 0 };
			await this.#do(
				"s",
				() => tree.create(1, fresh, spec),
				() => model.create(1, fresh, id, "file"),
			);
			const data = pattern(0, 3000, this.begun);
			await this.#do(
				"s",
				() => tree.write(id, 0, data, true),
				() => model.write(id, 0, data),
			);
		} else if (chance(3) === 0)
			await this.#do(
				"s",
				() => tree.remove(1, name),
				() => model.remove(1, name, false),
			);
		else {
			const to = chance(2) === 0 ? fresh : names[chance(names.length)];
			await this.#do(
				"s",
				() => tree.rename(1, name, 1, to),
				() => model.rename(1, name, 1, to),
			);
		}
	}
}

/** Makes a session, runs `steps` steps in it and closes it. */
export const work = async (l: Lab, seed: number, steps: number, stableShare = 2): Promise<Workload> => {
	const tree = await create(l);
	const worker = new Worker(tree, modelOf(tree), random(seed), stableShare);
	await new Promise((resolve) => setTimeout(resolve, 50)); // the first segment has been filled
	const shadow = new Shadow(l.directory);
	faults.startTrace();
	await worker.run(steps);
	await tree.close();
	const trace = faults.stopTrace();
	return { shadow, trace, states: worker.states };
};

/** What the contract still allows after the entries seen so far. */
export class Acknowledged {
	begun = 0;
	any = 0;
	durable = 0;

	see(label: string): void {
		const [what, number, kind] = label.split(" ");
		if (what === "begin") this.begun = Number(number);
		else if (kind === "s") this.durable = Math.max(this.durable, Number(number));
		// Acknowledged in order of submission within a batch.
		if (what === "ack") this.any = Math.max(this.any, Number(number));
	}
}

/** Opens what a crash left; an empty string when it is one of the states from `least` to `most`. */
export const check = async (
	l: Lab,
	directory: string,
	states: string[],
	least: number,
	most: number,
): Promise<string> => {
	const tree = await openSession({ ...l.options, directory });
	try {
		const found = await fingerprint(tree);
		for (let m = least; m <= most; m++) if (states[m] === found) return "";
		const other = states.indexOf(found);
		return `finds ${other < 0 ? "no state that ever was" : `the state after ${other}`}, not one of ${least}…${most}`;
	} finally {
		await tree.close();
	}
};
