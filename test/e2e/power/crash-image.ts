/**
 * What a power loss left of the guest's disk: the file system must come back by its journal alone, and our code must
 * open the session on it. All of it without mounting, so that it takes no root.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { loadIdentity } from "../../../src/datastore/identity.js";
import type { Image } from "../../../src/image/image.js";
import { statePaths } from "../../../src/mountd/paths.js";
import { SessionStore } from "../../../src/mountd/session-store.js";
import { openSession, type SessionTree } from "../../../src/overlay/index.js";
import { must, run } from "../workspace.js";

/** Totals in the superblock are not kept in the journal; `-n` only says that they would be brought up to date. */
const TOTALS =
	/^$|^e2fsck |^Pass [1-5]|^(Free (blocks|inodes) count wrong \(.*\)\.)?Fix\? no$|: \d+\/\d+ files |^Free (blocks|inodes) count wrong|WARNING: .* still has errors/;

/** Replays the journal as a kernel does, and throws when the file system is not whole then. */
export async function recoverFileSystem(image: string): Promise<void> {
	const journal = await run("e2fsck", ["-E", "journal_only", "-y", image]);
	if ((journal.code ?? 99) > 1) throw new Error(`the journal is not replayed: ${journal.stdout}${journal.stderr}`);
	const { stdout, stderr } = await run("e2fsck", ["-fn", image]);
	const damage = `${stdout}${stderr}`.split("\n").filter((line) => !TOTALS.test(line));
	if (damage.length > 0) throw new Error(`e2fsck finds: ${damage.join("; ")}`);
}

/** Copies the state directory of an image into `target` (made anew), and opens its only session over `base`. */
export async function openState(image: string, target: string, base: Image): Promise<SessionTree> {
	rmSync(target, { recursive: true, force: true });
	const paths = statePaths(target);
	mkdirSync(paths.sessions, { recursive: true });
	const [uuid] = [...(await must("debugfs", ["-R", "ls -p /state/sessions", image])).matchAll(/\/([0-9a-f]{32})\//g)];
	if (!uuid) throw new Error("there is no session");
	const directory = join(paths.sessions, uuid[1]);
	mkdirSync(directory);
	const copy = async (from: string, to: string): Promise<void> => {
		await must("debugfs", ["-R", `dump ${from} ${to}`, image]);
	};
	await copy("/state/datastore.json", paths.identity);
	for (const name of ["session.json", "session", "log", "index"])
		await copy(`/state/sessions/${uuid[1]}/${name}`, join(directory, name));
	loadIdentity(paths.identity);
	const { sessions, broken } = new SessionStore(target).list();
	if (sessions.length !== 1) throw new Error(`the session's record is not readable: ${broken[0]?.error}`);
	const now = () => BigInt(Date.now()) * 1_000_000n;
	return openSession({ directory, bases: [{ base, size: base.size }], now, reserveBytes: 0 });
}
