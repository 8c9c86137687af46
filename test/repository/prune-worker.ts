/**
 * A process of the concurrency test. Arguments: repository, role, number, seed. Ends when its standard input does, with what
 * it did on standard output; any wrong byte or unexpected error ends it with code 1.
 */

import { openRepository, RepositoryError } from "../../src/repository/index.js";
import { BLOCK, Dice, MemoryImage, MIB, readAll, request, START } from "./helpers.js";

const [path, role, number] = process.argv.slice(2);
const vm = `vm${number}`;
let ending = false;
process.stdin.on("end", () => {
	ending = true;
});
process.stdin.resume();

/** What disk `n` of a VM holds: the VMs share most, and a later one brings an earlier one's blocks back. */
const content = (n: number): Buffer => {
	const disk = new Dice(5).bytes(2 * MIB);
	new Dice(1000 + (n % 6)).bytes(6 * BLOCK).copy(disk, (n % 6) * 4 * BLOCK);
	return disk;
};

const repository = await openRepository(path);
let rounds = 0;
const now = () => new Date();

const backup = async () => {
	const n = rounds * 7 + Number(number);
	await repository.backup(request(vm, new MemoryImage(content(n)), rounds, { facts: { n } }));
	await repository.forget({ what: { policy: { last: 3 }, vms: [vm], tags: [] }, force: true, now }).catch(expected);
};

const read = async () => {
	for (const point of await repository.points()) {
		try {
			const bytes = await readAll(repository, `${point.vm}@${point.id}`);
			if (!bytes.equals(content(point.facts.n as number))) throw new Error(`${point.vm}@${point.id} differs`);
		} catch (error) {
			expected(error);
		}
	}
};

/** One point stays open throughout, like a session's. */
let session: { image: Awaited<ReturnType<typeof repository.openDisk>>; expected: Buffer } | undefined;
const serve = async () => {
	if (session === undefined) {
		const point = (await repository.points()).find((one) => one.vm === "base");
		const image = await repository.openDisk(point!, "disk0");
		session = { image, expected: content(point!.facts.n as number) };
	}
	const bytes = Buffer.alloc(session.expected.length);
	await session.image.read(0, bytes);
	if (!bytes.equals(session.expected)) throw new Error("the session's disk differs");
	await new Promise((resolve) => setTimeout(resolve, 20));
};

const prune = async () => {
	const report = await repository.prune({ maxRewrite: { share: 1 }, now }).catch(expected);
	deleted += report?.deleted ?? 0;
	if (report !== undefined && report.deleted > 0) process.stdout.write("deleted\n");
	await new Promise((resolve) => setTimeout(resolve, 20));
};
let deleted = 0;

/** What others' work may cause: a point that went before it was opened, a lock that somebody has. */
function expected(error: unknown): undefined {
	if (error instanceof RepositoryError && ["UNKNOWN_POINT", "UNKNOWN_VM", "LOCKED"].includes(error.code)) return;
	throw error;
}

const work = { backup, read, serve, prune }[role as "backup" | "read" | "serve" | "prune"];
process.stdout.write("started\n");
do {
	await work();
	rounds += 1;
} while (!ending);
await session?.image.close();
await repository.close();
process.stdout.write(`${JSON.stringify({ rounds, deleted, start: START })}\n`);
