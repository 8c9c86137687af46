/** Uses that sessions noted in the repository are taken away only when their state directory says that they are gone. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import t from "tap";
import { dropStaleUses, sessionUses } from "../../src/cli/session-uses.js";
import { BLOCK, Dice, folder, fresh, MemoryImage, request } from "../repository/helpers.js";

t.test("stale uses", async (t) => {
	const repository = await fresh(t);
	const { point } = await repository.backup(request("vm", new MemoryImage(new Dice(1).bytes(BLOCK))));
	const state = join(folder(t), "state");
	const note = (n: number, since: string, host: string, at: string) =>
		repository.hold(point, {
			...{ id: String(n).repeat(32), kind: "session", since, reason: "" },
			session: { name: `s${n}`, host, state: at },
		});
	const old = "2026-01-01T00:00:00Z";
	await note(1, old, hostname(), state);
	await note(2, old, hostname(), state);
	await note(3, old, hostname(), state);
	await note(4, old, "another", state);
	await note(5, old, hostname(), "/elsewhere");
	await note(6, new Date().toISOString(), hostname(), state);
	await repository.hold(point, { kind: "person", since: old, reason: "audit" });
	const left = async () => (await repository.holds()).map(({ session }) => session?.name ?? "person").sort();
	const all = ["person", "s1", "s2", "s3", "s4", "s5", "s6"];
	t.same([...sessionUses(repository, state)], []);
	await dropStaleUses(repository, state);
	t.same(await left(), all, "no state directory");
	mkdirSync(join(state, "sessions", "2".repeat(32)), { recursive: true });
	mkdirSync(join(state, "trash", "3".repeat(32)), { recursive: true });
	await dropStaleUses(repository, state);
	t.same(await left(), all, "not the directory that they were made in: it never counted a session");
	writeFileSync(join(state, "session-number"), "6\n");
	await dropStaleUses(repository, state);
	t.same(await left(), ["person", "s2", "s3", "s4", "s5", "s6"], "only what is known to be gone");
	rmSync(join(state, "trash", "3".repeat(32)), { recursive: true });
	await dropStaleUses(repository, state);
	t.same(await left(), ["person", "s2", "s4", "s5", "s6"]);
});
