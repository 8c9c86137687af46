/**
 * The fuzzer of test/nfs on the real tree: sessions on disk below the published datastore. Beyond what holds for the
 * server alone: the neighbouring session and the base are untouched, and what is on disk afterwards opens and lists.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Datastore } from "../../src/datastore/datastore.js";
import type { Image } from "../../src/image/image.js";
import { startNfsServer } from "../../src/nfs/server.js";
import { createSession, openSession, type SessionTree } from "../../src/overlay/index.js";
import { isFailed } from "../../src/vfs/failed.js";
import type { DirectoryNode, Node } from "../../src/vfs/vfs.js";
import { CAMPAIGN_INPUTS, campaign, settled } from "../nfs/fuzz/campaign.js";
import { heldBytes, plan } from "../nfs/fuzz/plan.js";

const { seeds, inputs, long } = plan(200_000, 3000);
const MIB = 2 ** 20;
/** what may be held more at the end than after the first campaigns */
const GROWTH = 16 * MIB;
const SIZE = 200_000;
const CONTENT = Buffer.alloc(SIZE, "abcdefg");
const base = (): Image => ({
	size: SIZE,
	read: (offset, target) => void CONTENT.copy(target, 0, offset, offset + target.length),
	extents: (offset, length) => [{ offset, length, kind: "data" }],
	close: async () => undefined,
});

t.setTimeout(long ? 3_600_000 : 300_000);

let time = 1_000_000_000_000_000_000n;
const now = () => {
	time += 1000n;
	return time;
};

function make(directory: string, number: number): Promise<SessionTree> {
	mkdirSync(directory);
	return createSession({
		directory,
		uuid: Buffer.alloc(16, number),
		bases: [{ base: base(), size: SIZE + 192 }],
		seed: [
			{ path: ["disk0-flat.vmdk"], kind: "file", mode: 0o600, base: 0 },
			{ path: ["vm.vmx"], kind: "file", mode: 0o644, content: Buffer.from('displayName = "vm"\n') },
		],
		segmentBytes: MIB,
		uid: 0,
		gid: 0,
		now,
	});
}

/** Paths below a directory, as deep as they go. */
function names(tree: SessionTree, directory = tree.root, path = ""): string[] {
	const found: string[] = [];
	for (const { name, id } of tree.list(directory, 0n, 1_000_000).entries) {
		found.push(`${path}/${name}`);
		if (tree.inode(id)?.kind === "directory") found.push(...names(tree, id, `${path}/${name}`));
	}
	return found;
}

async function run(t: Test, seed: number): Promise<void> {
	const directory = mkdtempSync(join(tmpdir(), "springback-fuzz-"));
	t.teardown(() => rmSync(directory, { recursive: true, force: true }));
	const logs: string[] = [];
	const datastore = new Datastore({
		identity: { fsid: 77n, handleKey: Buffer.alloc(32, 1) },
		now,
		directory,
		ownerUid: 0,
		clients: ["127.0.0.0/8"],
		log: (line) => logs.push(line),
	});
	const place = (number: number) => join(directory, String(number));
	const serve = (name: string, number: number, tree: SessionTree, clients: string[]) =>
		datastore.add({
			...{ uuid: Buffer.alloc(16, number), number, name, tree, clients },
			...{ readOnly: false, sync: false, ownerUid: 0 },
		});
	const tree = await make(place(1), 1);
	const neighbour = await make(place(2), 2);
	serve("one", 1, tree, ["127.0.0.0/8"]);
	serve("two", 2, neighbour, ["192.0.2.1"]);
	const server = await startNfsServer({
		fileSystem: datastore,
		...{ listen: "127.0.0.1", nfsPort: 0, mountPort: 0, portmap: "off", now },
		log: (line) => logs.push(line),
	});
	const root = datastore.exportRoot("/springback/one") as DirectoryNode;
	const disk = (await root.lookup("disk0-flat.vmdk")) as Node;
	// A good handle of a session that lists other addresses, and of its root as seen from /springback/one's address.
	const foreign = (datastore.exportRoot("/springback/two") as DirectoryNode).handle;
	const untouched = names(neighbour);
	const { sent, answered, faults } = await campaign(seed, inputs, {
		nfsPort: server.nfsPort,
		handles: [root.handle, disk.handle, foreign],
	});
	await settled(server.stats);
	t.match(server.stats, { connections: 0, unsentBytes: 0 });
	await server.close();
	t.same(faults, [], `seed ${seed}: ${answered} answers to ${sent} requests`);
	t.same(
		logs.filter((line) => !/closed: record of/.test(line)),
		[],
		"nothing unexpected",
	);
	t.notOk(isFailed(datastore.exportRoot("/springback/two")));
	t.same(names(neighbour), untouched, "the session that does not list this address is as it was");
	t.equal(neighbour.usage().lastWrite, 0n, "and was never written to");
	t.ok(CONTENT.equals(Buffer.alloc(SIZE, "abcdefg")), "nor was the base");
	const before = names(tree);
	t.notOk(
		before.some((path) => path.split("/").some((part, at) => at > 0 && ["", ".", ".."].includes(part))),
		"no name leads elsewhere",
	);
	await tree.close();
	await neighbour.close();
	const again = await openSession({ directory: place(1), bases: [{ base: base(), size: SIZE + 192 }], now });
	t.same(names(again), before, "the session opens again and has the same names");
	await again.close();
}

let early = 0;
for (const [index, seed] of seeds.entries())
	t.test(`${inputs} mutated requests, SPRINGBACK_FUZZ_SEED=${seed}`, async (t) => {
		await run(t, seed);
		if (index === Math.floor(seeds.length / 10)) early = heldBytes();
	});

t.test("memory does not grow with the requests", { skip: long ? false : "in long runs" }, async (t) => {
	const late = heldBytes();
	const total = seeds.length * CAMPAIGN_INPUTS;
	t.comment(`${(early / MIB).toFixed(1)} MiB early, ${(late / MIB).toFixed(1)} MiB at the end, ${total} requests`);
	t.ok(late - early < GROWTH, `grown by ${((late - early) / MIB).toFixed(1)} MiB`);
});
