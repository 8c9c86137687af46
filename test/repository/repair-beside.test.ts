/** Repair waits for backups: one that runs may count on a pack that repair would move aside. */
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { openRepository } from "../../src/repository/index.js";
import { Dice, fresh, MemoryImage, MIB, readAll, request } from "./helpers.js";
import { SlowImage } from "./slow-image.js";

t.test("a running backup keeps repair out until it ends", async (t) => {
	const repository = await fresh(t);
	const content = new Dice(1).bytes(8 * MIB);
	await repository.backup(request("old", new MemoryImage(content)));
	const slow = new SlowImage(content);
	const backing = await openRepository(repository.path);
	const running = backing.backup(request("new", slow, 1));
	await slow.half;
	const dry = await repository.repair({ dryRun: true });
	t.same(dry.remaining, [], "a dry run waits for nobody");
	await t.rejects(repository.repair({ signal: AbortSignal.timeout(500) }), { code: "INTERRUPTED" }, "it waited");
	let ended = false;
	const repair = repository.repair({}).finally(() => {
		ended = true;
	});
	await sleep(500);
	t.notOk(ended);
	slow.go();
	t.equal((await running).disks[0].new, 0, "it counts on what is there");
	t.match(await repair, { quarantined: [], remaining: [] });
	await backing.close();
	t.ok((await readAll(repository, "new")).equals(content));
});
