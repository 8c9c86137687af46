/** Random operations against the model, with reopening, as after a stop and as after kill -9. */
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { OverlayError, type SessionTree } from "../../src/overlay/index.js";
import type { Session } from "../../src/overlay/session.js";
import { create, DISK, diskOf, type Lab, lab, open, pattern, random, readAll, temporary } from "./lab.js";
import type { Model } from "./model.js";
import { modelOf } from "./seeded-model.js";

const codeOf = async (act: () => unknown): Promise<string> => {
	try {
		await act();
		return "OK";
	} catch (error) {
		if (error instanceof OverlayError) return error.code;
		throw error;
	}
};

class Run {
	tree!: SessionTree;
	model!: Model;
	copies = 0;
	constructor(
		readonly lab: Lab,
		readonly chance: (limit: number) => number,
	) {}

	#pick(kind?: string): number {
		const ids = [...this.model.nodes].filter(([, n]) => !kind || n.kind === kind).map(([id]) => id);
		return ids[this.chance(ids.length)];
	}

	#name(): string {
		return `n${this.chance(12)}`;
	}

	/** Both must succeed, or fail alike. The model acts in the order of submission. */
	async #both(what: string, real: () => Promise<unknown>, model: () => void): Promise<void> {
		const pending = codeOf(real);
		const expected = await codeOf(model);
		const got = await pending;
		if (got !== expected) throw new Error(`${what}: ${got}, the model says ${expected}`);
	}

	async step(): Promise<void> {
		const { chance, tree, model } = this;
		const dice = chance(100);
		if (dice < 45) return this.#write();
		if (dice < 55) return this.#compare();
		if (dice < 63) return this.#resize();
		const directory = this.#pick(chance(20) === 0 ? undefined : "directory");
		const name = this.#name();
		if (dice < 75) {
			const kind = (["file", "file", "directory", "symlink"] as const)[chance(4)];
			const target = kind === "symlink" ? pattern(0, 1 + chance(4000), dice) : undefined;
			const spec = { kind, mode: 0o644, uid: 1, gid: 2, target };
			let id = 0;
			const got = await codeOf(async () => {
				id = (await tree.create(directory, name, spec)).id;
			});
			const expected = await codeOf(() => model.create(directory, name, id, kind, target));
			if (got !== expected) throw new Error(`create: ${got}, the model says ${expected}`);
		} else if (dice < 82) {
			await this.#both(
				"remove",
				() => tree.remove(directory, name),
				() => model.remove(directory, name, false),
			);
		} else if (dice < 85) {
			await this.#both(
				"rmdir",
				() => tree.removeDirectory(directory, name),
				() => model.remove(directory, name, true),
			);
		} else if (dice < 92) {
			const to = this.#pick("directory");
			const toName = this.#name();
			await this.#both(
				"rename",
				() => tree.rename(directory, name, to, toName),
				() => model.rename(directory, name, to, toName),
			);
		} else if (dice < 96) {
			const id = this.#pick();
			await this.#both(
				"link",
				() => tree.link(id, directory, name),
				() => model.link(id, directory, name),
			);
		} else if (dice < 98) await this.#commit();
		else if (dice === 98) await this.reopen();
		else await this.killed();
	}

	async #write(): Promise<void> {
		const { chance } = this;
		const writes: Promise<void>[] = [];
		for (let i = chance(6); i >= 0; i--) {
			const id = chance(3) === 0 ? this.#pick() : diskOf(this.tree);
			if (id === undefined) continue;
			const offset = chance(3) === 0 ? 512 * chance(390) : chance(DISK);
			const length = 1 + (chance(4) === 0 ? chance(30_000) : chance(5000));
			const zeros = chance(8) === 0;
			const data = zeros ? Buffer.alloc(length) : pattern(offset, length, chance(200));
			// Overlapping ones take effect in the order in which they were asked for.
			writes.push(
				this.#both(
					"write",
					() =>
						zeros && chance(2) === 0
							? this.tree.zero(id, offset, length, chance(2) === 0)
							: this.tree.write(id, offset, data, chance(2) === 0),
					() => this.model.write(id, offset, data),
				),
			);
		}
		await Promise.all(writes);
	}

	async #resize(): Promise<void> {
		const id = this.#pick();
		const size = this.chance(DISK + 20_000);
		await this.#both(
			"resize",
			() => this.tree.change(id, { size }),
			() => this.model.resize(id, size),
		);
	}

	async #commit(): Promise<void> {
		await this.tree.commit(this.#pick("file") ?? 1);
	}

	async #compare(): Promise<void> {
		const id = this.#pick("file");
		if (id === undefined) return;
		const { content } = this.model.node(id);
		if (content.length === 0) return;
		const offset = this.chance(content.length);
		const length = Math.min(content.length - offset, 1 + this.chance(20_000));
		const got = await readAll(this.tree, id, offset, length);
		if (!got.equals(content.subarray(offset, offset + length))) throw new Error(`read of ${id} at ${offset} differs`);
	}

	async check(when: string): Promise<void> {
		const difference = await this.model.difference(this.tree);
		if (difference) throw new Error(`${when}: ${difference}`);
	}

	async reopen(): Promise<void> {
		await this.tree.close();
		this.tree = await open(this.lab);
		await this.check("after reopening");
	}

	/** Compaction comes to an end when nobody writes: what it moves must not be worth moving again. */
	async settled(): Promise<void> {
		const { compaction, log } = (this.tree as Session).engine;
		const limit = log.sequence + 2000;
		while (compaction.running && log.sequence < limit) await new Promise((resolve) => setTimeout(resolve, 1));
		if (compaction.running) throw new Error("compaction goes on and on");
	}

	/** What a kill -9 leaves is what the kernel has: a copy of the files. The run goes on with the recovered copy. */
	async killed(): Promise<void> {
		const copy = join(this.lab.directory, "..", `${this.lab.directory.split("/").pop()}-${this.copies++}`);
		cpSync(this.lab.directory, copy, { recursive: true });
		await this.tree.close();
		this.lab.directory = copy;
		this.lab.options.directory = copy;
		this.tree = await open(this.lab);
		await this.check("after a kill");
	}
}

const SEEDS = [1, 2, 3, 4, 5, 6];

for (const seed of SEEDS) {
	t.test(`seed ${seed}`, async (t) => {
		const parent = temporary(t, true);
		const directory = join(parent, "s");
		mkdirSync(directory);
		const run = new Run(lab(directory), random(seed));
		run.tree = await create(run.lab);
		run.model = modelOf(run.tree);
		let step = 0;
		try {
			for (; step < 1500; step++) await run.step();
			await run.check("at the end");
			await run.settled();
			await run.reopen();
		} catch (error) {
			t.fail(`step ${step}: ${(error as Error).stack}`);
		}
		t.pass(`${step} steps, ${run.copies} kills`);
		await run.tree.close();
	});
}
