/**
 * Crashes at every entry of the trace of clients that write over NBD. Each client has a region of its own and one request
 * in flight, so what is found in its region must be the state after exactly its first k operations: all that were
 * answered after a kill, all that a later flush or FUA covers after a power loss.
 */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import type { ServedSession } from "../../src/datastore/datastore.js";
import { Meter } from "../../src/mountd/nbd/meter.js";
import { ServedDisk } from "../../src/mountd/nbd/served-image.js";
import { SessionDisk } from "../../src/mountd/nbd/session-disk.js";
import { NbdServer } from "../../src/nbd/index.js";
import { RawClient } from "../nbd/server/raw-client.js";
import { Shadow } from "../overlay/crash-lab.js";
import { create, DISK, diskOf, lab, open, pattern, random, readAll, temporary } from "../overlay/lab.js";

const CLIENTS = 4;
const REGION = Math.floor(DISK / CLIENTS);
const OPERATIONS = 14;
// Larger writes are no longer one batch of the log in segments as small as these, and may be found in part.
const [WRITE, FLUSH, ZEROES, TRIM] = [1, 3, 6, 4];
const FUA = 1;

t.test("what NBD clients were promised outlives every crash", async (t) => {
	const seed = Number(process.env.SPRINGBACK_SEED ?? 21);
	t.comment(`seed ${seed}`);
	const parent = temporary(t, true);
	const [home, copy] = [join(parent, "s"), join(parent, "copy")];
	mkdirSync(home);
	const l = lab(home, { reserveBytes: 64 * 1024 });
	const tree = await create(l);
	const id = diskOf(tree);
	const session = { tree, sync: false } as ServedSession;
	const owner = { isServed: () => true, log: (line: string) => t.fail(line) };
	const image = new ServedDisk(new SessionDisk(session, id, DISK), owner, new Meter(() => new Date()));
	const server = new NbdServer({
		exports: {
			knows: () => true,
			names: () => ["d"],
			open: () => ({ image, readOnly: false, multiConnection: true }),
		},
		identify: () => ({ address: "test" }),
		log: (line) => t.fail(line),
	});
	const sockets = mkdtempSync(join(tmpdir(), "springback-nbd-"));
	t.teardown(() => rmSync(sockets, { recursive: true, force: true }));
	await server.listenUnix(join(sockets, "s"));
	const clients: RawClient[] = [];
	for (let n = 0; n < CLIENTS; n++) clients.push(await (await RawClient.connect(t, join(sockets, "s"))).go("d"));

	const shadow = new Shadow(home);
	faults.startTrace();
	const before = await readAll(tree, id, 0, DISK);
	/** states[client][k]: its region after its first k operations */
	const states = clients.map((_, n) => [Buffer.from(before.subarray(n * REGION, (n + 1) * REGION))]);
	/** operations that each client was answered */
	const answered = clients.map(() => 0);
	await Promise.all(
		clients.map(async (client, n) => {
			const chance = random(seed * 10 + n);
			for (let k = 1; k <= OPERATIONS; k++) {
				const length = 1 + chance(chance(3) === 0 ? 8000 : 3000);
				const at = chance(REGION - length);
				const next = Buffer.from(states[n][k - 1]);
				const flags = chance(3) === 0 ? FUA : 0;
				const command = [WRITE, WRITE, WRITE, WRITE, ZEROES, TRIM][chance(6)];
				const data = command === WRITE ? pattern(at, length, seed + 50 * n + k) : undefined;
				if (data) data.copy(next, at);
				else next.fill(0, at, at + length);
				states[n].push(next);
				faults.mark(`begin ${n} ${k}`);
				const { error } = await client.ask({ command, flags, offset: n * REGION + at, length, data });
				if (error !== 0) throw new Error(`operation ${k} of client ${n}: error ${error}`);
				answered[n] = k;
				faults.mark(`ack ${n} ${k} ${flags === FUA ? "stable" : "unstable"}`);
				if (chance(4) > 0) continue;
				// A flush of one connection covers what the others were answered before it, too.
				const covered = answered.slice();
				if ((await client.ask({ command: FLUSH })).error !== 0) throw new Error("flush failed");
				faults.mark(`flush ${covered.join(" ")}`);
			}
		}),
	);
	const trace = faults.stopTrace();
	for (const client of clients) client.socket.destroy();
	await server.close();
	await tree.close();

	const begun = clients.map(() => 0);
	const any = clients.map(() => 0);
	const durable = clients.map(() => 0);
	const chance = random(seed);
	let crashes = 0;
	const check = async (what: string, index: number, least: number[]): Promise<void> => {
		crashes++;
		const again = await open(l, copy);
		const found = await readAll(again, id, 0, DISK);
		await again.close();
		for (const [n, list] of states.entries()) {
			const region = found.subarray(n * REGION, (n + 1) * REGION);
			const k = list.findIndex((state, at) => at >= least[n] && at <= begun[n] && state.equals(region));
			if (k < 0) throw new Error(`${what} at entry ${index}: client ${n} had ${least[n]} operations acknowledged`);
		}
	};
	for (const [index, entry] of trace.entries()) {
		if (entry.op === "mark") {
			const [word, ...numbers] = entry.path.split(" ");
			const [n, k] = numbers.map(Number);
			if (word === "begin") begun[n] = k;
			else if (word === "ack") {
				any[n] = k;
				if (numbers[2] === "stable") durable[n] = k;
			} else for (const [one, count] of numbers.map(Number).entries()) durable[one] = Math.max(durable[one], count);
			continue;
		}
		shadow.apply(entry);
		if (entry.op === "pwrite") {
			shadow.kill(copy);
			await check("kill", index, any);
		}
		for (let sample = 0; sample < 2; sample++) {
			shadow.powerLoss(copy, chance);
			await check("power loss", index, durable);
		}
	}
	t.same(durable.filter((count) => count > 0).length, CLIENTS, "every client had something durable");
	t.ok(crashes > 100, `${crashes} crashes in ${trace.length} entries`);
});
