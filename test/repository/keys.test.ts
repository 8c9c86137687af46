/** Passphrases and recovery keys: added, changed, removed without touching data; a wrong one is not damage. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { faults } from "../../native/index.js";
import { initRepository, KeyManager, openRepository } from "../../src/repository/index.js";
import { secretFor } from "../../src/repository/passphrase.js";
import { BLOCK, CHEAP, Dice, filesOf, folder, MemoryImage, open, readAll, request } from "./helpers.js";

const key = (passphrase: string) => ({ key: { passphrase: () => Buffer.from(passphrase) } });
const secret = (text: string) => Buffer.from(text);

t.afterEach(() => faults.clear());

t.test(
	"add, change, remove: every key opens the same data, which is not rewritten",
	{ timeout: 120_000 },
	async (t) => {
		const path = join(folder(t), "repository");
		const { recoveryKey } = await initRepository(path, { ...CHEAP, passphrase: secret("first") });
		t.match(recoveryKey, /^([A-Z2-7]{4}-){7}[A-Z2-7]{4}$/);
		const content = new Dice(1).bytes(BLOCK);
		const repository = await open(t, path, key("first"));
		await repository.backup(request("vm", new MemoryImage(content)));
		const data = () =>
			filesOf(path)
				.filter((name) => !/^(keys|locks)/.test(name))
				.map((name) => [name, readFileSync(join(path, name), "hex")]);
		const before = data();

		const keys = await KeyManager.open(path, { ...CHEAP, now: () => new Date(0) });
		t.teardown(() => keys.close());
		const first = await keys.unlock(secret("first"));
		const second = await keys.addPassphrase(first, secret("second"));
		t.equal(second.created, "1970-01-01T00:00:00Z");
		const { recoveryKey: another, ...recovery } = await keys.addRecoveryKey(first);
		t.same((await keys.list()).keys.map(({ kind }) => kind).sort(), [
			"passphrase",
			"passphrase",
			"recovery",
			"recovery",
		]);
		const opens = async (text: string) => {
			const opened = await openRepository(path, key(text));
			t.ok((await readAll(opened, "vm")).equals(content), text);
			await opened.close();
		};
		for (const text of ["first", "second", another.toLowerCase().replaceAll("-", " "), recoveryKey!]) await opens(text);

		await keys.change(first, secret("third"));
		await t.rejects(openRepository(path, key("first")), { code: "WRONG_KEY", message: /wrong passphrase.*4 keys/ });
		await opens("third");
		await t.rejects(keys.change(await keys.unlock(secret(recoveryKey!)), secret("x")), {
			code: "UNSUPPORTED",
			message: /key list/,
		});
		await keys.change(await keys.unlock(secret(recoveryKey!)), secret("forgotten, set anew"), second.id.slice(0, 6));
		await opens("forgotten, set anew");
		t.same(data(), before, "data, maps, points and index are the same bytes");

		const { file } = await keys.unlock(secret("third"));
		await t.rejects(keys.remove(first, "zzzz"), { code: "NOT_FOUND" });
		for (const { id } of (await keys.list()).keys) if (id !== file.id) await keys.remove(first, id);
		await t.rejects(openRepository(path, key(another)), { code: "WRONG_KEY" });
		t.notOk((await keys.list()).keys.some(({ id }) => id === recovery.id));
		await t.rejects(keys.remove(first, file.id), { code: "UNSUPPORTED", message: /last one/ });
		await opens("third");
	},
);

t.test("a damaged key is damage, a wrong passphrase is not, and both together say so", async (t) => {
	const path = join(folder(t), "repository");
	const { recoveryKey } = await initRepository(path, { ...CHEAP, passphrase: secret("right") });
	const names = readdirSync(join(path, "keys"));
	t.equal(names.length, 2);
	const manager = await KeyManager.open(path, CHEAP);
	const { file } = await manager.unlock(secret("right"));
	await manager.close();
	await t.rejects(openRepository(path, key("wrong")), { code: "WRONG_KEY", message: /^(?!.*damaged)/ });
	await t.rejects(openRepository(path), { code: "ENCRYPTED", message: /--key-file/ });
	const damage = (id: string) => {
		const bytes = readFileSync(join(path, "keys", id));
		bytes[100] ^= 1;
		writeFileSync(join(path, "keys", id), bytes);
	};
	damage(file.id);
	await t.rejects(openRepository(path, key("right")), {
		code: "WRONG_KEY",
		message: new RegExp(`keys/${file.id} is damaged and may be`),
	});
	const rest = await KeyManager.open(path, CHEAP);
	const byRecovery = await rest.unlock(secret(recoveryKey!));
	t.same([...(await rest.list()).bad.keys()], [file.id]);
	t.same(await rest.remove(byRecovery, file.id), { id: file.id, kind: "damaged" });
	await rest.addPassphrase(byRecovery, secret("right"));
	await rest.close();
	await (await openRepository(path, key("right"))).close();
	for (const name of readdirSync(join(path, "keys"))) damage(name);
	await t.rejects(openRepository(path, key("right")), { code: "DAMAGED", message: /keys\/[0-9a-f]+ is damaged/ });
	for (const name of readdirSync(join(path, "keys"))) rmSync(join(path, "keys", name));
	await t.rejects(openRepository(path, key("right")), { code: "DAMAGED", message: /keys is empty/ });
});

t.test("a change that is cut short leaves a key that opens", async (t) => {
	const path = join(folder(t), "repository");
	await initRepository(path, { ...CHEAP, passphrase: secret("old") });
	const keys = await KeyManager.open(path, CHEAP);
	t.teardown(() => keys.close());
	const unlocked = await keys.unlock(secret("old"));
	faults.set([{ op: "rename", path: "keys/", error: "EIO" }]);
	await t.rejects(keys.change(unlocked, secret("new")), { code: "IO" });
	await (await openRepository(path, key("old"))).close();
	faults.set([{ op: "unlink", path: "keys/", error: "EIO" }]);
	await t.rejects(keys.change(unlocked, secret("new")), { code: "IO" });
	faults.clear();
	for (const text of ["old", "new"]) await (await openRepository(path, key(text))).close();
});

t.test("an init that is cut short can be run again; one over data that lost its config cannot", async (t) => {
	const path = join(folder(t), "repository");
	faults.set([{ op: "rename", path: "springback.json", error: "EIO" }]);
	await t.rejects(initRepository(path, { ...CHEAP, passphrase: secret("one") }), { code: "IO" });
	faults.clear();
	await initRepository(path, { ...CHEAP, passphrase: secret("two") });
	t.equal(readdirSync(join(path, "keys")).length, 2, "keys of the first attempt are gone");
	const repository = await open(t, path, key("two"));
	await repository.backup(request("vm", new MemoryImage(Buffer.alloc(BLOCK, 1))));
	rmSync(join(path, "springback.json"));
	await t.rejects(initRepository(path), { code: "EXISTS", message: /lost its springback\.json/ });
	await t.rejects(KeyManager.open(path), { code: "NOT_A_REPOSITORY" });
	const plain = join(folder(t), "plain");
	await initRepository(plain);
	await t.rejects(KeyManager.open(plain), { code: "UNSUPPORTED" });
});

t.test("what is typed: accents composed or not, recovery keys with or without dashes", async (t) => {
	t.same(secretFor("passphrase", secret("Zoe\u0308")), secretFor("passphrase", secret("Zo\u00eb")));
	t.same(secretFor("passphrase", Buffer.of(0xff, 1)), Buffer.of(0xff, 1), "a key file may hold anything");
	t.equal(secretFor("recovery", secret("hunter2")), undefined);
	t.same(secretFor("recovery", secret("abcd-".repeat(8))), secret("ABCD".repeat(8)));
	t.equal(secretFor("recovery", secret("1".repeat(32))), undefined);
});
