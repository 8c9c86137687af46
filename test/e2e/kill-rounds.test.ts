/**
 * kill -9 in rounds: a client with many calls in flight, the mount process killed at random moments (also while it
 * comes back), the calls that had no answer sent again with the same XID. What was acknowledged is there, what was not
 * is old or new, and a call that is sent again has its right answer. 6 rounds; 210 with SPRINGBACK_LONG.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { NfsClient, P, sattr } from "../nfs/nfs-client.js";
import { xdr } from "../nfs/raw-client.js";
import { killMountdOf, untilListening } from "./client/processes.js";
import { RetryingClient } from "./client/retrying-client.js";
import { random, writeDisk } from "./content.js";
import { Operations } from "./kill-rounds-operations.js";
import { World } from "./kill-rounds-world.js";
import { type Ready, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const LONG = Boolean(process.env.SPRINGBACK_LONG);
/** Clients side by side, each with a session and a mount process of its own. */
const LANES = LONG ? 3 : 1;
const ROUNDS = LONG ? 70 : 6;
const SEED = Number(process.env.SPRINGBACK_SEED ?? 1);
/** Rounds until the session is closed and continued. */
const CONTINUE_AFTER = 6;
const SIZE = 4 * 2 ** 20;
const WORKERS = 16;
/** Answered calls that are sent once more after a kill. */
const REPLAYS = 20;
const STALE = 70;

t.setTimeout(LONG ? 1_200_000 : 300_000);
t.jobs = LANES;
for (let lane = 0; lane < LANES; lane++)
	t.test(`what was acknowledged outlives kill -9, ${lane + 1}`, { buffered: true }, (t) => rounds(t, SEED + lane));

async function rounds(t: Test, seed: number): Promise<void> {
	const work = new Workspace();
	t.teardown(() => work.close());
	t.comment(`seed ${seed}`);
	const chance = random(seed);
	writeDisk(work.path("disk.raw"), seed, SIZE);
	await work.init();
	await work.backup("vm", work.path("disk.raw"));
	const args = ["vm", "--session", "s", "--nfs-port", "0", "--mount-port", "0", "--no-portmap"];
	let published = await work.publish(args);
	let { nfsPort } = published.ready;
	const world = await enter(published.ready, readFileSync(work.path("disk.raw")));
	const client = new RetryingClient(nfsPort, (seed * 7919) >>> 0);
	t.teardown(() => client.close());
	const load = new Load(client, world, chance);

	const verify = async () => {
		const other = await NfsClient.connect(nfsPort);
		await world.verify(other).finally(() => other.close());
	};
	/** The longest time without a server, ms */
	let longest = 0;
	for (let round = 1; round <= ROUNDS; round++) {
		load.start();
		await sleep(50 + 500 * chance());
		const look = chance() < 0.5;
		const gone = look ? client.stayAway() : undefined;
		await killMountdOf(work.state);
		if (gone) {
			await gone;
			longest = Math.max(longest, await untilListening(nfsPort));
			// Nothing is sent again yet: each call in flight has happened or not.
			await verify();
			client.resume();
		}
		if (chance() < 0.3) {
			await sleep(400 * chance());
			await killMountdOf(work.state);
		}
		longest = Math.max(longest, await untilListening(nfsPort));
		await load.replay();
		await load.stop();
		await verify();
		if (round % CONTINUE_AFTER === 0 && round < ROUNDS) {
			await work.stop(published);
			published = await work.publish(args);
			nfsPort = published.ready.nfsPort;
			client.port = nfsPort;
			await verify();
		}
	}
	t.pass(`${ROUNDS} rounds`);
	t.comment(`${[...load.counts].map(([name, count]) => `${name} ${count}`).join(", ")}`);
	t.comment(`sent again without an answer ${client.resent}, after one ${load.replayed}; no server for ${longest} ms`);
	t.ok(client.resent > 0, "calls were in flight when it was killed");
	if (!t.equal(await work.stop(published), 0, "publish ends well")) t.comment(published.stderr());
	t.equal((await work.cli(["check", "--read-data"])).code, 0, "the repository is whole");
}

t.test("publish ends its session also when the mount process was just killed", { buffered: true }, async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	writeDisk(work.path("disk.raw"), SEED, 1_000_000);
	await work.init();
	await work.backup("vm", work.path("disk.raw"));
	// From before it is noticed to when it is back.
	for (const delay of [0, 100, 400, 800]) {
		const published = await work.publish([
			"vm",
			"--session",
			"s",
			"--nfs-port",
			"0",
			"--mount-port",
			"0",
			"--no-portmap",
		]);
		await killMountdOf(work.state);
		await sleep(delay);
		if (!t.equal(await work.stop(published), 0, `asked ${delay} ms later`)) t.comment(published.stderr());
		const states = (await work.sessions()).map(({ state }) => state);
		t.same(states, ["parked"], "nobody serves it any more");
	}
});

/** Two directories in the session, and its disk. */
async function enter(ready: Ready, data: Buffer): Promise<World> {
	const mount = await NfsClient.connect(ready.mountPort);
	const root = await mount.root("/springback/s");
	mount.close();
	const client = await NfsClient.connect(ready.nfsPort);
	const directories: Buffer[] = [];
	for (const name of ["one", "two"]) {
		const made = await client.make(P.MKDIR, xdr().opaque(root).opaque(name).raw(sattr()).done());
		directories.push(made.handle!);
	}
	const { handle, attributes } = await client.lookup(root, "disk0-flat.vmdk");
	client.close();
	return new World(directories, { handle: Buffer.from(handle), fileid: attributes!.fileid, data });
}

/** Workers that each have one call in flight, until they are stopped. */
class Load {
	readonly counts = new Map<string, number>();
	replayed = 0;
	readonly #operations: Operations;
	#workers: Promise<void>[] = [];
	#stopping = false;
	/** answered calls that must not be carried out again */
	#answered: { name: string; xid: number; bytes: Buffer }[] = [];

	constructor(
		readonly client: RetryingClient,
		world: World,
		readonly chance: () => number,
	) {
		this.#operations = new Operations(world, chance);
	}

	start(): void {
		this.#stopping = false;
		this.#workers = Array.from({ length: WORKERS }, () => this.#work());
		// Reported by `stop`.
		for (const worker of this.#workers) worker.catch(() => {});
	}

	/** Resolves when every call has its answer. */
	async stop(): Promise<void> {
		this.#stopping = true;
		await Promise.all(this.#workers);
	}

	/** Sends some answered calls once more: they still succeed, and change nothing. */
	async replay(): Promise<void> {
		const some = this.#answered.splice(0).filter(() => this.chance() < 0.5);
		for (const { name, xid, bytes } of some) {
			const status = (await this.client.send(xid, bytes)).u32();
			// The file itself may have been removed meanwhile.
			const stale = status === STALE && (name === "SETATTR" || name === "LINK");
			if (status !== 0 && !stale) throw new Error(`${name}: ${status} when it was sent again after its answer`);
			this.replayed++;
		}
	}

	async #work(): Promise<void> {
		while (!this.#stopping) {
			const operation = this.#operations.next();
			if (!operation) {
				await sleep(1);
				continue;
			}
			const { name, procedure, args } = operation;
			const { xid, bytes, reply } = this.client.call(procedure, args);
			const body = await reply;
			const status = body.u32();
			if (status !== 0) throw new Error(`${name} answers ${status}`);
			try {
				operation.answered(body, this.client.connections);
			} catch (cause) {
				throw new Error(`${name}: ${(cause as Error).message}`, { cause });
			}
			this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
			if (procedure === P.WRITE || procedure === P.COMMIT) continue;
			this.#answered.push({ name, xid, bytes });
			if (this.#answered.length > REPLAYS) this.#answered.shift();
		}
	}
}
