/**
 * Random sequences of what happens to a VM and its restore points: writes, backups with writes in the middle, power cycles,
 * runs that are killed, disks that grow, points that are removed. At the end every point that is left exports exactly what a
 * shadow of the disks says.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { MIB } from "../hypervisor/content.js";
import { Dice } from "../repository/helpers.js";
import { changed, HostLab, VM_ID } from "./host-lab.js";

const SEQUENCES = process.env.SPRINGBACK_LONG ? 50 : 3;
const STEPS = process.env.SPRINGBACK_LONG ? 24 : 16;
const SEED = Number(process.env.SPRINGBACK_SEED ?? 20261121);
const GRAIN = 65536;
const BACKUP = fileURLToPath(new URL("../../src/backup/index.js", import.meta.url));
const HYPERVISOR = fileURLToPath(new URL("../../src/hypervisor/index.js", import.meta.url));
const REPOSITORY = fileURLToPath(new URL("../../src/repository/index.js", import.meta.url));
/** A run that is read slowly, so that it can be killed anywhere. */
const RUN = `
	const [{ hostBackup }, { openHost }, { openRepository }] = await Promise.all(process.argv.slice(1, 4).map((url) => import(url)));
	const [folder, readLimit] = process.argv.slice(4);
	const host = { name: "lab", type: "qemu", uri: "qemu://" + folder };
	const hypervisor = await openHost("qemu", host.uri);
	const repository = await openRepository(folder + "/repo");
	console.log("begins");
	await hostBackup(repository, { host, hypervisor, vm: "one", quiesce: false, readLimit: Number(readLimit) });
	await repository.close();
	await hypervisor.close();
`;

class World {
	readonly disks = [Buffer.alloc(12 * MIB), Buffer.alloc(4 * MIB + 512)];
	readonly names = ["disk0", "data"];
	/** by id of the point */
	readonly expected = new Map<string, Buffer[]>();
	/** grains written since the last backup, by disk */
	readonly touched = [new Set<number>(), new Set<number>()];
	tracked = 0;

	constructor(
		readonly t: Test,
		readonly lab: HostLab,
		readonly dice: Dice,
	) {}

	async write(): Promise<void> {
		const index = this.dice.below(2);
		const disk = this.disks[index];
		const length = 512 * (1 + this.dice.below(400));
		const offset = 512 * this.dice.below((disk.length - length) / 512);
		// Also zeros: what becomes empty again has changed, too.
		const letter = this.dice.below(5) === 0 ? "\0" : String.fromCharCode(97 + this.dice.below(26));
		await this.lab.write("one", index, letter, offset, length);
		disk.fill(letter, offset, offset + length);
		for (let at = Math.floor(offset / GRAIN); at * GRAIN < offset + length; at++) this.touched[index].add(at);
	}

	async backup(): Promise<void> {
		let moment: Buffer[] = [];
		let touched: number[] = [];
		const during = this.dice.below(3);
		const hypervisor = changed(this.lab.hypervisor, {
			snapshot: async (vm, options) => {
				const snapshot = await this.lab.hypervisor.snapshot(vm, options);
				moment = this.copy();
				touched = this.touched.map(({ size }) => size);
				for (const set of this.touched) set.clear();
				for (let n = 0; n < during; n++) await this.write();
				return snapshot;
			},
		});
		const { point, disks } = await this.lab.backup("one", { hypervisor });
		this.expected.set(point, moment);
		for (const [n, { read, tracked, name }] of disks.entries()) {
			if (!tracked) continue;
			this.tracked += 1;
			// Also what grew is read, and what a run that was killed had seen already.
			const bound = 1.2 * (touched[n] + this.grown[n]) * GRAIN;
			if (read > bound) this.t.fail(`${name}: ${read} bytes read, ${bound} allowed`);
			this.grown[n] = 0;
		}
	}

	/** grains by which a disk grew since the last backup */
	readonly grown = [0, 0];

	async grow(): Promise<void> {
		const grains = 1 + this.dice.below(20);
		const size = this.disks[0].length + grains * GRAIN;
		// A run that died may have left a filter over the disk, and QEMU then refuses.
		await this.lab.hypervisor.cleanUp();
		await this.lab.resize("one", 0, size);
		this.disks[0] = Buffer.concat([this.disks[0]], size);
		this.grown[0] += grains + 1;
	}

	async powerCycle(): Promise<void> {
		await this.lab.hypervisor.power("one", "off");
		if (this.dice.below(3) === 0) await this.offBackup();
		await this.lab.hypervisor.power("one", "on");
	}

	private async offBackup(): Promise<void> {
		const { point } = await this.lab.backup("one");
		this.expected.set(point, this.copy());
		for (const set of this.touched) set.clear();
		this.grown.fill(0);
	}

	/** Killed anywhere between its first word and its end, the point made or not. */
	async killedRun(): Promise<void> {
		const rate = String(MIB * (1 + this.dice.below(40)));
		const args = ["--input-type=module", "-e", RUN, BACKUP, HYPERVISOR, REPOSITORY, this.lab.folder, rate];
		const env = { ...process.env, NODE_OPTIONS: "" };
		const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] });
		const exit = once(child, "exit");
		await Promise.race([once(child.stdout, "data"), exit]);
		await sleep(this.dice.below(250));
		child.kill("SIGKILL");
		await exit;
		for (const { id } of await this.lab.repository.points())
			if (!this.expected.has(id)) {
				this.expected.set(id, this.copy());
				for (const set of this.touched) set.clear();
			}
	}

	async deletePoint(): Promise<void> {
		const points = await this.lab.repository.points();
		if (points.length < 2) return;
		const { id } = points[this.dice.below(points.length)];
		await this.lab.repository.forget({ what: { specs: [`one@${id}`] }, force: true, now: () => new Date() });
		this.expected.delete(id);
		if (this.dice.below(2) === 0) await this.lab.repository.prune({ now: () => new Date() });
		// What an older point must be brought up to is more than what was written since the last one.
		for (const set of this.touched) for (let grain = 0; grain < 400; grain++) set.add(grain);
	}

	copy(): Buffer[] {
		return this.disks.map((disk) => Buffer.from(disk));
	}

	async compare(): Promise<void> {
		const points = await this.lab.repository.points();
		this.t.strictSame(points.map(({ id }) => id).sort(), [...this.expected.keys()].sort());
		for (const [id, disks] of this.expected)
			for (const [n, disk] of disks.entries()) {
				const stored = await this.lab.stored(id, this.names[n]);
				this.t.ok(stored.equals(disk), `${id.slice(0, 8)} ${this.names[n]}: ${difference(stored, disk)}`);
			}
	}
}

const difference = (a: Buffer, b: Buffer): string => {
	if (a.length !== b.length) return `${a.length} bytes, not ${b.length}`;
	const at = a.findIndex((byte, n) => byte !== b[n]);
	return at < 0 ? "the same" : `differs at ${at}`;
};

for (let n = 0; n < SEQUENCES; n++) {
	t.test(`sequence ${n + 1} of ${SEQUENCES}, seed ${SEED + n}`, { timeout: 300_000 }, async (t) => {
		const lab = await HostLab.make(t);
		const world = new World(t, lab, new Dice(SEED + n));
		const [first, second] = world.disks;
		lab.bare("one", {
			disk0: { format: "qcow2", size: first.length },
			data: { format: n % 2 === 0 ? "qcow2" : "raw", size: second.length },
		});
		await lab.hypervisor.power(VM_ID, "on");
		const steps: [string, () => Promise<void>, number][] = [
			["write", () => world.write(), 5],
			["backup", () => world.backup(), 4],
			["power cycle", () => world.powerCycle(), 1],
			["killed run", () => world.killedRun(), 1],
			["grow", () => world.grow(), 1],
			["delete point", () => world.deletePoint(), 1],
		];
		const bag = steps.flatMap(([name, run, weight]) => Array.from({ length: weight }, () => ({ name, run })));
		await world.write();
		for (let step = 0; step < STEPS; step++) {
			const { name, run } = bag[world.dice.below(bag.length)];
			t.comment(name);
			await run();
		}
		await world.backup();
		await world.write();
		await world.backup();
		await world.compare();
		t.ok(world.tracked > 0, `${world.tracked} disks by what changed`);
		t.strictSame(await lab.hypervisor.cleanUp(), []);
		t.strictSame((await lab.repository.check({ readData: false })).faults, []);
	});
}
