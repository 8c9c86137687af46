/**
 * The fuzzer of test/nfs on the real tree: sessions on disk below the published datastore. Beyond what holds for the
 * server alone: the neighbouring session and the base are untouched, and what is on disk afterwards opens and lists.
 */
import t, { type Test } from "tap";
import type { SessionTree } from "../../src/overlay/index.js";
import { isFailed } from "../../src/vfs/failed.js";
import type { DirectoryNode, Node } from "../../src/vfs/vfs.js";
import { CAMPAIGN_INPUTS, campaign, settled } from "../nfs/fuzz/campaign.js";
import { heldBytes, plan } from "../nfs/fuzz/plan.js";
import { CONTENT, DISK, ServedDatastore, SIZE } from "./served.js";

const { seeds, inputs, long } = plan(200_000, 3000);
const MIB = 2 ** 20;
/** what may be held more at the end than after the first campaigns */
const GROWTH = 16 * MIB;

t.setTimeout(long ? 3_600_000 : 300_000);

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
	const served = await ServedDatastore.start(t);
	const { server, datastore, logs } = served;
	const tree = await served.add("one", 1);
	const neighbour = await served.add("two", 2, ["192.0.2.1"]);
	const root = datastore.exportRoot("/springback/one") as DirectoryNode;
	const disk = (await root.lookup(DISK)) as Node;
	// A good handle of a session that lists other addresses, and of its root as seen from /springback/one's address.
	const foreign = (datastore.exportRoot("/springback/two") as DirectoryNode).handle;
	const untouched = names(neighbour);
	const { sent, answered, faults } = await campaign(seed, inputs, {
		nfsPort: server.nfsPort,
		handles: [root.handle, disk.handle, foreign],
	});
	await settled(server.stats);
	t.match(server.stats, { connections: 0, unsentBytes: 0 });
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
	await served.close();
	const again = await served.reopen(1);
	t.same(names(again), before, "the session opens again and has the same names");
	await again.close();
}

let early = 0;
for (const [index, seed] of seeds.entries())
	t.test(`${inputs} mutated requests, SPRINGBACK_FUZZ_SEED=${seed}`, async (t) => {
		await run(t, seed);
		if (index === Math.floor(seeds.length / 10)) early = heldBytes();
	});

// What is held after ten thousand requests says nothing yet.
const memory = async (t: Test): Promise<void> => {
	const late = heldBytes();
	const total = seeds.length * CAMPAIGN_INPUTS;
	t.comment(`${(early / MIB).toFixed(1)} MiB early, ${(late / MIB).toFixed(1)} MiB at the end, ${total} requests`);
	t.ok(late - early < GROWTH, `grown by ${((late - early) / MIB).toFixed(1)} MiB`);
};
if (long) t.test("memory does not grow with the requests", memory);
