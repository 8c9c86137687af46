/**
 * Ten thousand requests, mutated with the grammar in mind; a million with SPRINGBACK_LONG. The server must neither
 * crash nor hang nor log an unexpected error nor keep memory, must answer all that is a call, and must serve afterwards.
 */
import t, { type Test } from "tap";
import { CAMPAIGN_INPUTS, campaign, settled } from "./fuzz/campaign.js";
import { heldBytes, plan } from "./fuzz/plan.js";
import { NfsClient, sattr } from "./nfs-client.js";
import { served } from "./served.js";

const { seeds, inputs, long } = plan(1_000_000, CAMPAIGN_INPUTS);
const MIB = 2 ** 20;
/** what the server may hold more at the end than after its first campaigns */
const GROWTH = 16 * MIB;

t.setTimeout(long ? 3_600_000 : 300_000);

/** One campaign on a server of its own. */
async function run(t: Test, seed: number): Promise<void> {
	const { fileSystem, server, logs } = await served(t, { portmap: "own", portmapPort: 0 });
	const handles = [
		fileSystem.directory("/springback/one").handle,
		fileSystem.directory("/springback/one/d").handle,
		fileSystem.file("/springback/one/a", Buffer.alloc(100_000)).handle,
		fileSystem.file("/springback/one/d/b", Buffer.from("b")).handle,
	];
	const { sent, answered, faults } = await campaign(seed, inputs, {
		nfsPort: server.nfsPort,
		portmapPort: server.portmapPort,
		handles,
		beforeRound: (round) => {
			fileSystem.behaviour.asynchronous = round % 3 === 0;
		},
	});
	fileSystem.behaviour.asynchronous = false;
	t.same(faults, [], `seed ${seed}: ${answered} answers to ${sent} requests`);
	t.same(
		logs.filter((line) => !/closed: record of/.test(line)),
		[],
		"nothing unexpected",
	);
	const client = await NfsClient.connect(server.nfsPort);
	t.equal((await client.mount("/springback/one")).status, 0);
	const root = (await client.mount("/springback")).handle;
	const file = await client.create(root, "after", "guarded", sattr(), { xid: 5000 });
	t.equal((await client.write(file.handle!, 0, Buffer.from("still here"))).status, 0);
	t.equal((await client.read(file.handle!, 0, 100)).data.toString(), "still here");
	client.close();
	await settled(server.stats);
	t.match(server.stats, { connections: 0, unsentBytes: 0 });
	const calls = [...server.stats.procedures.values()].reduce((sum, { calls }) => sum + calls, 0);
	t.ok(calls > inputs / 3, `${calls} were carried out`);
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
	t.comment(
		`${(early / MIB).toFixed(1)} MiB early, ${(late / MIB).toFixed(1)} MiB at the end, ${seeds.length * inputs} requests`,
	);
	t.ok(late - early < GROWTH, `grown by ${((late - early) / MIB).toFixed(1)} MiB`);
};
if (long) t.test("memory does not grow with the requests", memory);
