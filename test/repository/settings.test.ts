/** Settings objects: put atomically, verified, encrypted, a bounded number kept, cut short at every operation. */
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { faults } from "../../native/index.js";
import { initRepository, RepositoryError, SettingsStore } from "../../src/repository/index.js";
import { SETTINGS_KEPT } from "../../src/repository/settings.js";
import { RepositoryShadow } from "./crash-lab.js";
import { CHEAP, Dice, folder, memoryFolder, open, PASSPHRASE, randomFrom } from "./helpers.js";

const id = (n: number): string => n.toString(16).padStart(32, "0");
const mine = id(0xabc);
const other = id(0xdef);

const put = (store: SettingsStore, n: number, state = mine) =>
	store.put({
		id: id(n),
		state,
		at: new Date(n * 1000).toISOString(),
		host: "srv",
		content: { n, secret: "the plan" },
	});

const opened = async (t: Test, path: string, options = {}): Promise<SettingsStore> => {
	const store = await SettingsStore.open(path, options);
	t.teardown(() => store.close());
	return store;
};
const repository = async (t: Test, secret = false): Promise<string> => {
	const path = join(folder(t), "repository");
	await initRepository(path, secret ? { ...CHEAP, passphrase: PASSPHRASE.key.passphrase() } : {});
	return path;
};

for (const secret of [false, true])
	t.test(`put, listed, read, bounded${secret ? ", encrypted" : ""}`, async (t) => {
		const path = await repository(t, secret);
		const store = await opened(t, path, secret ? PASSPHRASE : {});
		t.strictSame(await store.names(), [], "none at first, and no folder");
		for (let n = 1; n <= SETTINGS_KEPT + 3; n++) await put(store, n);
		await put(store, 100, other);
		const names = await store.names();
		t.equal(names.filter(({ state }) => state === other).length, 1, "states do not push each other out");
		const kept = names.filter(({ state }) => state === mine);
		t.equal(kept.length, SETTINGS_KEPT);
		t.strictSame(
			kept.map(({ sequence }) => sequence),
			[8, 7, 6, 5, 4],
			"the newest ones, newest first",
		);
		t.match(await store.read(kept[0]), {
			state: mine,
			sequence: 8,
			id: id(8),
			at: "1970-01-01T00:00:08.000Z",
			host: "srv",
			content: { n: 8 },
		});
		const bytes = readFileSync(join(path, kept[0].file));
		t.equal(bytes.includes("the plan"), !secret, "readable in the file only without encryption");
		const whole = await open(t, path, secret ? PASSPHRASE : {});
		t.strictSame((await whole.check({ readData: true })).faults, []);
	});

t.test("every flipped bit and every cut is damage, named by read and by check", async (t) => {
	for (const secret of [false, true]) {
		const path = await repository(t, secret);
		const store = await opened(t, path, secret ? PASSPHRASE : {});
		const name = await put(store, 1);
		const file = join(path, name.file);
		const good = readFileSync(file);
		for (let bit = 0; bit < good.length * 8; bit++) {
			const bytes = Buffer.from(good);
			bytes[bit >> 3] ^= 1 << (bit & 7);
			writeFileSync(file, bytes);
			const error = await store.read(name).then(
				() => undefined,
				(reason) => reason,
			);
			if (error?.code !== "DAMAGED") t.fail(`bit ${bit} is not noticed: ${error}`);
		}
		for (let length = 0; length < good.length; length += 7) {
			writeFileSync(file, good.subarray(0, length));
			await t.rejects(store.read(name), { code: "DAMAGED", message: /settings\/.*damaged/ });
		}
		const whole = await open(t, path, secret ? PASSPHRASE : {});
		t.match((await whole.check({ readData: false })).faults, [{ kind: "bad-settings", file: name.file }]);
		writeFileSync(file, good);
		const [state, sequence] = [other, "000000000009"];
		renameSync(file, join(path, `settings/${state}-${sequence}-${name.id}`));
		await t.rejects(
			store.read((await store.names())[0]),
			{ message: /another object/ },
			"a new name makes it no newer",
		);
	}
});

t.test("only its key opens it, and a point is no settings", async (t) => {
	const path = await repository(t, true);
	await put(await opened(t, path, PASSPHRASE), 1);
	await t.rejects(SettingsStore.open(path), { code: "ENCRYPTED" });
	await t.rejects(SettingsStore.open(path, { key: { passphrase: () => Buffer.from("no") } }), { code: "WRONG_KEY" });
	const plain = await repository(t);
	const store = await opened(t, plain);
	cpSync(join(path, "settings"), join(plain, "settings"), { recursive: true });
	await t.rejects(store.read((await store.names())[0]), { code: "DAMAGED" }, "from an encrypted into a plain one");
});

t.test("a full disk leaves the older ones", async (t) => {
	const path = await repository(t);
	const store = await opened(t, path);
	await put(store, 1);
	faults.set([{ op: "pwrite", path, error: "ENOSPC", count: -1 }]);
	await t.rejects(put(store, 2), { name: "RepositoryError", code: "NO_SPACE" });
	faults.clear();
	t.strictSame(
		(await store.names()).map(({ sequence }) => sequence),
		[1],
	);
	await put(store, 3);
	t.strictSame(
		(await store.names()).map(({ sequence }) => sequence),
		[2, 1],
	);
});

t.test("cut short after each operation, by kill and by power loss", async (t) => {
	const path = join(memoryFolder(t), "repository");
	await initRepository(path, { random: randomFrom("repository") });
	const shadow = new RepositoryShadow(path);
	const store = await opened(t, path);
	const total = SETTINGS_KEPT + 2;
	faults.startTrace();
	for (let n = 1; n <= total; n++) {
		await put(store, n);
		faults.mark(`${n}`);
	}
	const trace = faults.stopTrace();
	const target = join(memoryFolder(t), "after");
	const dice = new Dice(5);
	let acknowledged = 0;
	const verify = async (): Promise<string | undefined> => {
		const after = await SettingsStore.open(target);
		try {
			const names = await after.names();
			for (const name of names) {
				const { content } = await after.read(name);
				if ((content as { n: number }).n !== name.sequence) return "the content is of another";
			}
			const newest = names[0]?.sequence ?? 0;
			if (newest < acknowledged) return `the newest is ${newest}`;
			if (names.length < Math.min(acknowledged, SETTINGS_KEPT)) return `only ${names.length} are left`;
			await put(after, 50);
			const count = (await after.names()).length;
			return count <= SETTINGS_KEPT ? undefined : `${count} are kept after the next put`;
		} catch (error) {
			return error instanceof RepositoryError ? error.message : String(error);
		} finally {
			await after.close();
		}
	};
	for (const entry of trace) {
		if (entry.op === "mark") acknowledged = Number(entry.path);
		shadow.apply(entry);
		for (const [how, write] of [
			["killed", () => shadow.kill(target)],
			["power lost", () => shadow.powerLoss(target, (limit) => dice.below(limit))],
		] as const) {
			write();
			const wrong = await verify();
			if (wrong !== undefined) t.fail(`${how} after ${entry.op} ${entry.path}: ${wrong}`);
		}
	}
	t.equal(acknowledged, total);
	t.ok(trace.length > 40, `${trace.length} operations`);
	rmSync(target, { recursive: true });
	t.strictSame(readdirSync(join(path, "tmp")), []);
});
