/** Where passphrases come from: --key-file, the environment, or the terminal. Never from an argument: others see those. */
import { closeSync, openSync, readSync } from "node:fs";
import {
	type KeySource,
	openRepository,
	type Repository,
	type RestoredConfig,
	restoreConfig,
	unlockRepository,
} from "../repository/index.js";
import type { Context } from "./command.js";
import { UsageError } from "./exit.js";
import { repositoryPath } from "./places.js";
import { askSecret, canAsk } from "./prompt.js";
import { SECRETS } from "./secrets.js";
import { text } from "./values.js";

const KEY_FILE_MAX_BYTES = 64 * 1024;

/** Opens the repository that the command names, with its key where it needs one. */
export async function openNamed(
	context: Context,
	options: { readThreads?: number; hashContent?: boolean } = {},
): Promise<Repository> {
	return openRepository(repositoryPath(context), { ...options, key: await namedKey(context) });
}

let named: { path: string; key: KeySource | undefined } | undefined;

/** Asked for and unwrapped once in a command, which may open its repository again at the end. */
export async function namedKey(
	context: Context,
	ask = true,
	source = keySource(context, ask),
): Promise<KeySource | undefined> {
	const path = repositoryPath(context);
	if (named?.path === path) return named.key;
	const unlocked = await unlockRepository(path, source);
	named = { path, key: unlocked && { masterOf: (id) => (id === unlocked.repository ? unlocked.master : undefined) } };
	return named.key;
}

/**
 * Restores springback.json of the repository that the command names, where it is lost or damaged; to be called before it is
 * opened. A passphrase that this took opens the repository, too: it is not asked for again.
 */
export async function restoreNamed(context: Context, blockSize?: number): Promise<RestoredConfig | undefined> {
	const key = readOnce(keySource(context));
	const restored = await restoreConfig(repositoryPath(context), { key, blockSize });
	if (restored !== undefined) await namedKey(context, true, key);
	return restored;
}

function readOnce(source: KeySource | undefined): KeySource | undefined {
	if (source === undefined || !("passphrase" in source)) return source;
	let secret: Buffer | Promise<Buffer> | undefined;
	return {
		...source,
		passphrase: () => {
			secret ??= source.passphrase();
			return secret;
		},
	};
}

/** Whether this command has opened the repository that it names. */
export const hasOpenedNamed = (): boolean => named !== undefined;

/** The key of the repository that is copied to: its own file, else no passphrase but one that is typed. */
export function targetKeySource(context: Context): KeySource | undefined {
	const file = text(context, "to-key-file");
	if (file !== undefined) return { passphrase: () => readKeyFile(file), expected: true };
	return canAsk() ? { passphrase: () => askSecret("Passphrase of --to: ") } : undefined;
}

/** Undefined: none was given and nobody can be asked. */
export function keySource(context: Context, ask = true): KeySource | undefined {
	const given = givenPassphrase(context);
	if (given !== undefined) return { passphrase: given, expected: true };
	return ask && canAsk() ? { passphrase: () => askSecret("Passphrase: ") } : undefined;
}

function givenPassphrase(context: Context): (() => Buffer) | undefined {
	const file = text(context, "key-file") ?? (SECRETS.passphrase ? undefined : process.env.SPRINGBACK_PASSPHRASE_FILE);
	if (file) return () => readKeyFile(file);
	const { passphrase } = SECRETS;
	return passphrase && (() => passphrase);
}

/** The passphrase that opens the repository; asked for where that is possible. */
export async function passphrase(context: Context): Promise<Buffer> {
	const source = keySource(context);
	if (source === undefined || !("passphrase" in source)) throw new UsageError(NONE);
	return source.passphrase();
}

const NONE =
	"no passphrase: give --key-file FILE, set SPRINGBACK_PASSPHRASE or SPRINGBACK_PASSPHRASE_FILE, or use a terminal";

/** The first passphrase of a repository that is being made: from where later ones come, or asked for twice. */
export async function firstPassphrase(context: Context): Promise<Buffer> {
	const given = givenPassphrase(context);
	if (given !== undefined) return given();
	if (!canAsk()) throw new UsageError(NONE);
	return askTwice();
}

/** The passphrase that a key is added or changed to. */
export async function newPassphrase(context: Context): Promise<Buffer> {
	const file = text(context, "new-key-file");
	if (file !== undefined) return readKeyFile(file);
	if (SECRETS.newPassphrase !== undefined) return SECRETS.newPassphrase;
	if (canAsk()) return askTwice();
	throw new UsageError("no new passphrase: give --new-key-file FILE, set SPRINGBACK_NEW_PASSPHRASE, or use a terminal");
}

async function askTwice(): Promise<Buffer> {
	const first = await askSecret("New passphrase: ");
	if (first.length === 0) throw new UsageError("an empty passphrase protects nothing: nothing was changed");
	if (!(await askSecret("The same again: ")).equals(first))
		throw new UsageError("the two passphrases differ: nothing was changed");
	return first;
}

/** The file's content without a final end of line. */
function readKeyFile(path: string): Buffer {
	const content = Buffer.alloc(KEY_FILE_MAX_BYTES + 1);
	let length = 0;
	// Read to its end and not by its size: it may be a pipe.
	const fd = openSync(path, "r");
	try {
		for (let got = -1; got !== 0 && length < content.length; length += got)
			got = readSync(fd, content, length, content.length - length, null);
	} finally {
		closeSync(fd);
	}
	if (length > KEY_FILE_MAX_BYTES) throw new UsageError(`${path}: too long for a key file (64 KiB at most)`);
	if (content[length - 1] === 0x0a) length -= content[length - 2] === 0x0d ? 2 : 1;
	if (length <= 0) throw new UsageError(`${path}: is empty; a key file holds the passphrase`);
	return content.subarray(0, length);
}
