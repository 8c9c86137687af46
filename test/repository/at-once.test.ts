/** Backups at once into one repository: what is shared while they run, and what prune gives back afterwards. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { openRepository } from "../../src/repository/index.js";
import {
	childEnvironment,
	Dice,
	encrypted,
	filesOf,
	fresh,
	MemoryImage,
	MIB,
	PASSPHRASE,
	packBytes,
	readAll,
	request,
	START,
} from "./helpers.js";
import { SlowImage } from "./slow-image.js";

const now = () => new Date(START + 86_400_000);
const WORKER = fileURLToPath(new URL("./at-once-worker.js", import.meta.url));

for (const kind of ["plain", "encrypted"] as const)
	t.test(`${kind}: after a checkpoint a backup uses what another one has stored meanwhile`, async (t) => {
		const repository = kind === "plain" ? await fresh(t) : await encrypted(t);
		const content = new Dice(1).bytes(8 * MIB);
		const slow = new SlowImage(content);
		const first = await openRepository(repository.path, { checkpointRecords: 16, ...PASSPHRASE });
		const running = first.backup(request("first", slow));
		await slow.half;
		const tail = content.subarray(6 * MIB);
		t.match((await repository.backup(request("second", new MemoryImage(tail), 1))).disks, [{ new: 2 * MIB }]);
		slow.go();
		t.match((await running).disks, [{ read: 8 * MIB, new: 6 * MIB }]);
		await first.close();
		await repository.forget({ what: { specs: ["second"] }, force: true, now });
		t.match(await repository.prune({ now, maxRewrite: { share: 1 } }), { waiting: { packs: 0 } });
		t.same((await repository.check({ readData: true })).faults, []);
		t.ok((await readAll(repository, "first")).equals(content), "it holds on to what the other one stored");
	});

t.test("while another process backs up, checkpoints come sooner", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(1).bytes(8 * MIB);
	// Each of these stands for a process: nothing but the files is common to them.
	const [other, one] = [
		await openRepository(repository.path),
		await openRepository(repository.path, { checkpointBeside: 16 }),
	];
	const away = new SlowImage(new Dice(2).bytes(5 * MIB));
	const running = other.backup(request("other", away));
	await away.half;
	const slow = new SlowImage(content);
	const first = one.backup(request("first", slow));
	await slow.half;
	// What it read is hashed and stored a moment later.
	while (filesOf(join(repository.path, "index")).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
	const { disks } = await repository.backup(request("second", new MemoryImage(content), 1));
	t.ok(disks[0].new < content.length, `${disks[0].new} of ${content.length} bytes are new to the second`);
	slow.go();
	away.go();
	await Promise.all([first, running]);
	await Promise.all([other.close(), one.close()]);
	for (const vm of ["first", "second"]) t.ok((await readAll(repository, vm)).equals(content));
	t.same((await repository.check({ readData: true })).faults, []);
});

t.test("the same disk by three processes at once: prune leaves one copy", { timeout: 120_000 }, async (t) => {
	const repository = await fresh(t);
	const content = new Dice(7).bytes(12 * MIB);
	const workers = [1, 2, 3].map((n) => {
		const worker = spawn(process.execPath, [WORKER, repository.path, `vm${n}`], { env: childEnvironment });
		let errors = "";
		worker.stderr.on("data", (text) => {
			errors += text;
		});
		t.teardown(() => worker.kill("SIGKILL"));
		const ready = new Promise((resolve) => worker.stdout.once("data", resolve));
		const ended = new Promise<string>((resolve) => worker.once("exit", (code) => resolve(`${code} ${errors}`)));
		return { worker, ready, ended };
	});
	await Promise.all(workers.map(({ ready }) => ready));
	for (const { worker } of workers) worker.stdin.end();
	t.same(await Promise.all(workers.map(({ ended }) => ended)), ["0 ", "0 ", "0 "]);
	const before = packBytes(repository);
	const later = await openRepository(repository.path);
	t.match(await later.prune({ now, maxRewrite: { share: 1 } }), { released: 0, damaged: [], waiting: { packs: 0 } });
	await later.prune({ now, maxRewrite: { share: 1 } });
	t.comment(`${before} bytes, then ${packBytes(repository)}`);
	t.ok(packBytes(repository) < content.length * 1.01, "one copy");
	t.same((await later.check({ readData: true })).faults, []);
	for (const n of [1, 2, 3]) t.ok((await readAll(later, `vm${n}`)).equals(content));
	await later.close();
});
