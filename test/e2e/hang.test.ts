/**
 * A repository whose disk hangs stalls nobody but its own readers: neither the data of another repository, cached or
 * not, nor the control of its sessions. Nothing here is timed; what is held up is held up until the test lets go.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { faultEnvironment, setFaults } from "../../scripts/lab/faults.js";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { NFS, NfsClient, P } from "../nfs/nfs-client.js";
import { decodeReply, encodeCall, mark, RawClient, xdr } from "../nfs/raw-client.js";
import { processes } from "./client/processes.js";
import { bytesOf } from "./content.js";
import { MAIN, must, type Ready, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const NOENT = 2;
const JUKEBOX = 10008;
const BLOCK = 65536;
/** of one disk */
const BLOCKS = 256;
/** Half of what the two disks have, so that reads of the healthy one miss the cache as well. */
const CACHE_MIB = 16;
/** Requests that hang: as many as one connection may have in flight, on several connections. */
const HANGING_CONNECTIONS = 4;
const HANGING_EACH = 512;
/** "Unaffected": far above what a loaded machine needs, far below never. */
const PATIENCE = 20_000;

const within = <T>(promise: Promise<T>, what: string): Promise<T> =>
	Promise.race([
		promise,
		sleep(PATIENCE, undefined, { ref: false }).then(() => {
			throw new Error(`${what}: no answer within ${PATIENCE / 1000} s`);
		}),
	]);

/** Two repositories with one disk each, one session of each, one mount process. */
class World {
	readonly socket: string;
	private readonly environment: string[];

	private constructor(readonly work: Workspace) {
		this.socket = work.path("faults");
		this.environment = Object.entries(faultEnvironment(this.socket)).map(([name, value]) => `${name}=${value}`);
	}

	static async make(t: Test): Promise<World> {
		const world = new World(new Workspace());
		t.teardown(() => world.work.close());
		for (const [seed, name] of ["good", "bad"].entries()) {
			// The second half is the same on both: content that they share in the cache.
			const halves = [bytesOf(seed, (BLOCKS / 2) * BLOCK), bytesOf(2, (BLOCKS / 2) * BLOCK)];
			writeFileSync(world.disk(name), Buffer.concat(halves));
			await world.cli(name, "init");
			await world.cli(name, "backup", "vm", "--disk", world.disk(name));
			await world.publish(name, name);
		}
		t.teardown(() => setFaults(world.socket, []).catch(() => undefined));
		return world;
	}

	disk(name: string): string {
		return this.work.path(`${name}.raw`);
	}

	repository(name: string): string {
		return this.work.path(`${name}-repository`);
	}

	async cli(name: string, ...args: string[]): Promise<string> {
		const command = ["-u", "NODE_OPTIONS", ...this.environment, process.execPath, MAIN, ...args];
		return must("env", [...command, "--repo", this.repository(name), "--state", this.work.state, "--quiet", "--json"]);
	}

	async publish(name: string, session: string): Promise<Ready> {
		const options = ["--session", session, "--detach", "--cache-size", `${CACHE_MIB}m`];
		return JSON.parse(await this.cli(name, "publish", "vm", ...options)) as Ready;
	}

	/** From now on no call for a file of the repository "bad" returns. */
	hang(): Promise<void> {
		return setFaults(this.socket, [{ op: "*", path: this.repository("bad"), delayMs: 3_600_000, count: -1 }]);
	}

	heal(): Promise<void> {
		return setFaults(this.socket, []);
	}

	async open(t: Test, session: string): Promise<{ client: NfsClient; handle: Buffer }> {
		const client = await NfsClient.connect(2049);
		t.teardown(() => client.close());
		const root = await client.root(`/springback/${session}`);
		return { client, handle: Buffer.from((await client.lookup(root, "disk0-flat.vmdk")).handle) };
	}
}

/** Reads 4 KiB of each of the first blocks, one after the other, and compares it. */
async function readAll(
	{ client, handle }: { client: NfsClient; handle: Buffer },
	content: Buffer,
	blocks = BLOCKS,
): Promise<void> {
	for (let block = 0; block < blocks; block++) {
		const at = block * BLOCK + 4096;
		const { status, data } = await within(client.read(handle, at, 4096), `block ${block}`);
		if (status !== 0 || !data.equals(content.subarray(at, at + 4096))) throw new Error(`block ${block}: ${status}`);
	}
}

t.test("reads of another repository go on, and those that hang are answered in the end", async (t) => {
	const world = await World.make(t);
	const content = readFileSync(world.disk("good"));
	const good = await world.open(t, "good");
	await readAll(good, content, BLOCKS / 4);
	const bad = await world.open(t, "bad");
	await world.hang();
	const args = (block: number) =>
		xdr()
			.opaque(bad.handle)
			.u64(block * BLOCK)
			.u32(4096)
			.done();
	const hanging: RawClient[] = [];
	for (let n = 0; n < HANGING_CONNECTIONS; n++) {
		const raw = await RawClient.connect(2049);
		t.teardown(() => raw.close());
		const calls = Array.from({ length: HANGING_EACH }, (_, xid) =>
			mark(encodeCall(NFS, 3, P.READ, args((xid * 7 + n) % BLOCKS), { xid })),
		);
		raw.send(Buffer.concat(calls));
		hanging.push(raw);
	}
	for (let round = 0; round < 3; round++) await readAll(good, content);
	t.equal((await within(good.client.write(good.handle, 8192, Buffer.alloc(4096, 1)), "a write")).status, 0);
	t.match(await within(world.cli("good", "sessions"), "sessions"), /"session":"good"/);
	t.same(
		hanging.map(({ records }) => records.length),
		hanging.map(() => 0),
		"meanwhile nothing of the other one was answered",
	);
	await world.heal();
	const expected = readFileSync(world.disk("bad"));
	for (const [n, raw] of hanging.entries()) {
		let wrong = 0;
		for (let count = 0; count < HANGING_EACH; count++) {
			const { xid, body } = decodeReply(await within(raw.next(), "a read that hung"));
			const at = ((xid * 7 + n) % BLOCKS) * BLOCK;
			const sound = body.u32() === 0 && body.bytes.subarray(-4096).equals(expected.subarray(at, at + 4096));
			if (!sound) wrong++;
		}
		t.equal(wrong, 0, "every one of them is right");
	}
});

t.test("a publish that waits for the hung disk holds up no reads, and no request for another repository", async (t) => {
	const world = await World.make(t);
	const good = await world.open(t, "good");
	const content = readFileSync(world.disk("good"));
	await world.hang();
	let published = false;
	const publishing = world.publish("bad", "another").then((ready) => {
		published = true;
		return ready;
	});
	publishing.catch(() => undefined);
	// Time for the request to come to where it hangs: nothing depends on it but how much is tested.
	for (let round = 0; round < 20; round++) {
		await readAll(good, content);
		await sleep(50);
	}
	const other = await within(world.publish("good", "other"), "publish from the other repository");
	t.equal(other.session, "other");
	t.match(await within(world.cli("good", "finish", "other"), "finish"), /"outcome":"removed"/);
	t.equal(published, false);
	await world.heal();
	t.equal((await within(publishing, "publish")).session, "another");
});

t.test("nor does a hold on a restore point, at whichever of its calls the disk hangs", async (t) => {
	const world = await World.make(t);
	const good = await world.open(t, "good");
	const content = readFileSync(world.disk("good"));
	const stages: { op: string; path: string; act: (session: string) => Promise<unknown> }[] = [
		{ op: "open", path: "/tmp/" },
		{ op: "pwrite", path: "/tmp/" },
		{ op: "fsync", path: "/tmp/" },
		{ op: "rename", path: "/tmp/" },
		{ op: "fsyncDirectory", path: "/holds" },
	].map((stage) => ({ ...stage, act: (session) => world.publish("bad", session) }));
	stages.push({ op: "unlink", path: "/holds/", act: () => world.cli("bad", "finish", "s0") });
	for (const [n, { op, path, act }] of stages.entries()) {
		await setFaults(world.socket, [{ op, path: world.repository("bad") + path, delayMs: 3_600_000, count: -1 }]);
		let done = false;
		const acting = act(`s${n}`).then(() => {
			done = true;
		});
		acting.catch(() => undefined);
		for (let round = 0; round < 10 || (!done && round < 30); round++) {
			await readAll(good, content, 8);
			await sleep(50);
		}
		t.equal(done, false, `${op} of ${path} hangs`);
		await world.heal();
		await within(acting, `after ${op}`);
	}
});

t.test(
	"a mount process killed while the disk hangs serves the others again, and that session when it can",
	async (t) => {
		const world = await World.make(t);
		const good = await world.open(t, "good");
		const bad = await world.open(t, "bad");
		const content = readFileSync(world.disk("good"));
		await world.hang();
		await within(world.work.killMountd("good"), "a restart");
		const again = { client: await NfsClient.connect(2049), handle: good.handle };
		t.teardown(() => again.client.close());
		await readAll(again, content, 16);
		const read = xdr().opaque(bad.handle).u64(0).u32(4096).done();
		t.equal((await within(again.client.call(P.READ, read), "its handle")).status, JUKEBOX, "its handles are not stale");
		t.equal((await within(again.client.mount("/springback/bad"), "MNT")).status, NOENT);
		t.match(await world.work.sessions(), [
			{ session: "good", state: "open" },
			{ session: "bad", state: "failed", error: /bad-repository does not answer yet/ },
		]);
		await world.heal();
		let status = JUKEBOX;
		for (let tries = 0; tries < 400 && status === JUKEBOX; tries++) {
			status = (await within(again.client.call(P.READ, read), "the session that hung")).status;
			await sleep(50);
		}
		t.equal(status, 0, "it is served as soon as its disk answers, with the same handle");
		t.match(await world.work.sessions(), [{ state: "open" }, { session: "bad", state: "open" }]);
	},
);

t.test("the mount process ends while reads hang, and what was written is there the next time", async (t) => {
	const world = await World.make(t);
	const bad = await world.open(t, "bad");
	t.equal((await bad.client.write(bad.handle, 0, Buffer.alloc(4096, 7))).status, 0);
	await world.hang();
	const args = xdr()
		.opaque(bad.handle)
		.u64(9 * BLOCK)
		.u32(4096)
		.done();
	bad.client.raw.send(mark(encodeCall(NFS, 3, P.READ, args, { xid: 1 })));
	const pid = await world.work.mountdPid("bad");
	const [supervisor] = processes("/mountd/supervisor.js", `"${world.work.state}"`);
	process.kill(supervisor, "SIGTERM");
	for (let wait = 0; wait < PATIENCE && processes("/mountd/main.js").includes(pid); wait += 50) await sleep(50);
	t.notOk(processes("/mountd/main.js").includes(pid), "it ends");
	await unlink(`${world.socket}.rules`);
	await world.publish("bad", "bad");
	const again = await world.open(t, "bad");
	t.ok((await again.client.read(again.handle, 0, 4096)).data.equals(Buffer.alloc(4096, 7)));
});
