/**
 * Upgrades under a client that goes on: the installed program is replaced and its mount process killed or ended, so
 * that its supervisor starts the new one; or it is ended for good, and another installation continues the session. The
 * client keeps its handles and sees no error, and everything that it wrote.
 */
import { renameSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { findMountd } from "../../src/mountd/start.js";
import { NfsClient, P, postOp, wcc } from "../nfs/nfs-client.js";
import { xdr } from "../nfs/raw-client.js";
import { killMountdOf, processes } from "./client/processes.js";
import { RetryingClient } from "./client/retrying-client.js";
import { bytesOf, writeDisk } from "./content.js";
import { installProgram } from "./installed.js";
import { must, Workspace } from "./workspace.js";

await enterNamespace(import.meta.url);

const [NFS_PORT, MOUNT_PORT] = [20_490, 20_491];
const LISTEN = "127.0.0.1";
const WORKERS = 6;
const BLOCK = 8192;
/** of each worker */
const BLOCKS = 8;

/** Workers that write blocks and read them again, with a handle that they got once. */
class Load {
	/** answered calls */
	count = 0;
	/** the longest time that a call took, ms */
	longest = 0;
	#ended = false;
	readonly #workers: Promise<void>[];

	constructor(
		readonly client: RetryingClient,
		readonly disk: Buffer,
	) {
		this.#workers = Array.from({ length: WORKERS }, (_, worker) => this.#work(worker));
		for (const worker of this.#workers) worker.catch(() => {});
	}

	async end(): Promise<void> {
		this.#ended = true;
		await Promise.all(this.#workers);
	}

	/** Resolves when `calls` more calls were answered. */
	async progress(calls: number): Promise<void> {
		const wanted = this.count + calls;
		while (this.count < wanted) await Promise.race([sleep(10), Promise.all(this.#workers)]);
	}

	async #work(worker: number): Promise<void> {
		const blocks: Buffer[] = [];
		for (let i = 0; !this.#ended; i++) {
			const at = (worker * BLOCKS + (i % BLOCKS)) * BLOCK;
			const old = blocks[i % BLOCKS];
			if (old && !(await this.#read(at)).equals(old)) throw new Error(`block at ${at} is not what was written`);
			const data = bytesOf(worker * 1_000_000 + i, BLOCK);
			await this.#write(at, data, i % 3);
			blocks[i % BLOCKS] = data;
		}
	}

	async #call(procedure: number, args: Buffer) {
		const began = performance.now();
		const body = await this.client.call(procedure, args).reply;
		const status = body.u32();
		if (status !== 0) throw new Error(`procedure ${procedure} answers ${status}`);
		this.longest = Math.max(this.longest, performance.now() - began);
		this.count++;
		return body;
	}

	async #write(at: number, data: Buffer, stable: number): Promise<void> {
		const args = xdr().opaque(this.disk).u64(at).u32(data.length, stable).opaque(data).done();
		const body = await this.#call(P.WRITE, args);
		wcc(body);
		if (body.u32() !== data.length) throw new Error("a short write");
	}

	async #read(at: number): Promise<Buffer> {
		const body = await this.#call(P.READ, xdr().opaque(this.disk).u64(at).u32(BLOCK).done());
		postOp(body);
		// count, eof
		body.u32();
		body.u32();
		return body.opaque();
	}
}

t.test("newer programs take over, and the client does not notice", async (t) => {
	const work = new Workspace();
	t.teardown(() => work.close());
	writeDisk(work.path("disk.raw"), 3, 2 ** 20);
	await work.init();
	await work.backup("vm", work.path("disk.raw"));
	const [app, next, elsewhere] = ["app", "app.next", "elsewhere"].map((name) => work.path(name));
	const publish = async (program: string): Promise<{ continued: boolean }> => {
		const ports = ["--nfs-port", String(NFS_PORT), "--mount-port", String(MOUNT_PORT), "--no-portmap"];
		const args = [join(program, "build/src/cli/main.js"), "publish", "vm", "--session", "s", "--detach", ...ports];
		const { SPRINGBACK_REPO, SPRINGBACK_STATE } = work.env();
		const own = [`SPRINGBACK_REPO=${SPRINGBACK_REPO}`, `SPRINGBACK_STATE=${SPRINGBACK_STATE}`];
		return JSON.parse(await must("env", ["-u", "NODE_OPTIONS", ...own, process.execPath, ...args]));
	};
	/** What the mount process says that it is, when there is one. */
	const version = async (): Promise<string | undefined> => {
		const client = await findMountd(work.state, LISTEN).catch(() => undefined);
		const hello = await client?.call("hello", {}).catch(() => undefined);
		client?.end();
		return hello?.version;
	};
	const untilVersion = async (wanted: string | undefined): Promise<void> => {
		for (let tries = 0; (await version()) !== wanted; tries++) {
			if (tries > 600) throw new Error(`it is ${await version()}, not ${wanted}, after 30 s`);
			await sleep(50);
		}
	};
	const handles = async (): Promise<{ root: string; disk: Buffer; fileid?: bigint }> => {
		const mount = await NfsClient.connect(MOUNT_PORT);
		const root = await mount.root("/springback/s");
		mount.close();
		const client = await NfsClient.connect(NFS_PORT);
		const { handle, attributes } = await client.lookup(root, "disk0-flat.vmdk");
		client.close();
		return { root: root.toString("hex"), disk: Buffer.from(handle), fileid: attributes?.fileid };
	};

	installProgram(app, "1.0.1");
	await publish(app);
	t.equal(await version(), "1.0.1");
	const first = await handles();
	const client = new RetryingClient(NFS_PORT, 1);
	t.teardown(() => client.close());
	const load = new Load(client, first.disk);
	await load.progress(200);

	installProgram(next, "1.0.2");
	renameSync(app, work.path("app.old"));
	renameSync(next, app);
	await killMountdOf(work.state);
	await untilVersion("1.0.2");
	await load.progress(200);
	t.strictSame(await handles(), first, "the same handles from the program that took the place of the first");
	t.comment(`killed: the longest call took ${Math.round(load.longest)} ms`);

	load.longest = 0;
	installProgram(elsewhere, "1.0.3");
	for (const pid of processes("/mountd/main.js", `"${work.state}"`)) process.kill(pid, "SIGTERM");
	await untilVersion(undefined);
	// Ended, not killed: its supervisor ends as well.
	for (let tries = 0; processes("/mountd/supervisor.js").length > 0; tries++) {
		if (tries > 200) throw new Error("the supervisor did not end within 10 s");
		await sleep(50);
	}
	t.equal((await publish(elsewhere)).continued, true);
	await untilVersion("1.0.3");
	await load.progress(200);
	t.strictSame(await handles(), first, "and from another installation");
	t.comment(`ended and published again: the longest call took ${Math.round(load.longest)} ms`);
	await load.end();
	t.ok(
		client.connections >= 3,
		`${load.count} calls over ${client.connections} connections, ${client.resent} sent again`,
	);
	client.close();
	t.equal((await work.cli(["finish", "s", "--keep"])).code, 0);
});
