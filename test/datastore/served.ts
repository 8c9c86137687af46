/** Real sessions in a temporary directory behind a real NFS server on loopback. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { Datastore } from "../../src/datastore/datastore.js";
import type { Image } from "../../src/image/image.js";
import { type NfsServer, startNfsServer } from "../../src/nfs/server.js";
import { createSession, openSession, type SessionTree } from "../../src/overlay/index.js";

/** bytes of the disk below each session */
export const SIZE = 200_000;
export const CONTENT = Buffer.alloc(SIZE, "abcdefg");
export const DISK = "disk0-flat.vmdk";
const MIB = 2 ** 20;

const base = (): Image => ({
	size: SIZE,
	read: (offset, target) => void CONTENT.copy(target, 0, offset, offset + target.length),
	extents: (offset, length) => [{ offset, length, kind: "data" }],
	close: async () => undefined,
});

let time = 1_000_000_000_000_000_000n;
const now = () => {
	time += 1000n;
	return time;
};

export class ServedDatastore {
	readonly logs: string[] = [];
	readonly datastore: Datastore;
	server!: NfsServer;
	private readonly directory = mkdtempSync(join(tmpdir(), "springback-datastore-"));
	private readonly trees = new Map<string, SessionTree>();

	private constructor(key: number) {
		this.datastore = new Datastore({
			identity: { fsid: 77n, handleKey: Buffer.alloc(32, key) },
			now,
			directory: this.directory,
			ownerUid: process.getuid?.() ?? 0,
			clients: ["127.0.0.0/8"],
			log: (line) => this.logs.push(line),
		});
	}

	/** @param key of the handles: another one is another installation */
	static async start(t: Test, key = 1): Promise<ServedDatastore> {
		const served = new ServedDatastore(key);
		served.server = await startNfsServer({
			fileSystem: served.datastore,
			...{ listen: "127.0.0.1", nfsPort: 0, mountPort: 0, portmap: "off", now },
			log: (line) => served.logs.push(line),
		});
		t.teardown(async () => {
			await served.close();
			rmSync(served.directory, { recursive: true, force: true });
		});
		return served;
	}

	/** Serves a new session. @param number unique, also after `remove` */
	async add(name: string, number: number, clients = ["127.0.0.0/8"]): Promise<SessionTree> {
		const directory = join(this.directory, String(number));
		mkdirSync(directory);
		const tree = await createSession({
			directory,
			uuid: Buffer.alloc(16, number),
			bases: [{ base: base(), size: SIZE + 192 }],
			seed: [
				{ path: [DISK], kind: "file", mode: 0o600, base: 0 },
				{ path: ["vm.vmx"], kind: "file", mode: 0o644, content: Buffer.from('displayName = "vm"\n') },
			],
			segmentBytes: MIB,
			uid: 0,
			gid: 0,
			now,
		});
		this.trees.set(name, tree);
		this.datastore.add({
			...{ uuid: Buffer.alloc(16, number), number, name, tree, clients },
			...{ readOnly: false, sync: false, ownerUid: process.getuid?.() ?? 0 },
		});
		return tree;
	}

	async remove(name: string): Promise<void> {
		this.datastore.remove(name);
		await this.trees.get(name)?.close();
		this.trees.delete(name);
	}

	/** Ends serving; the sessions stay on disk. */
	async close(): Promise<void> {
		await this.server.close();
		for (const name of [...this.trees.keys()]) await this.remove(name);
	}

	/** A session's tree again, after `close`. */
	reopen(number: number): Promise<SessionTree> {
		const directory = join(this.directory, String(number));
		return openSession({ directory, bases: [{ base: base(), size: SIZE + 192 }], now });
	}
}
