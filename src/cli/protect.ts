/**
 * Starts the process beside a recovered VM, which makes restore points of what it writes, and lets it go on when its disks
 * were away, until it is home.
 */
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { NamedHost, RecoveryRecord } from "../recovery/index.js";
import type { Context } from "./command.js";
import { namedKey } from "./keys.js";
import { namesRepository, statePath } from "./places.js";
import { text } from "./values.js";

const PROTECTOR = fileURLToPath(new URL("./protector.js", import.meta.url));

export interface ProtectorOptions {
	/** absolute state directory */
	state: string;
	session: string;
	/** of an encrypted repository */
	keyFile?: string;
	/** false: nothing is backed up */
	backups: boolean;
	/** where a guest that stopped because of its disks must be told to go on */
	host?: { type: string; uri: string };
}

/**
 * One that runs already makes a second one end at once. Like the mount process it outlives the terminal.
 * @param watched the VM's host, where guests do not go on by themselves
 */
export async function protect(
	context: Context,
	{ session, protectMs }: RecoveryRecord,
	watched: NamedHost | undefined,
): Promise<void> {
	const keyFile = text(context, "key-file") ?? process.env.SPRINGBACK_PASSPHRASE_FILE;
	const wanted = protectMs !== null;
	const closed = wanted && keyFile === undefined && namesRepository(context) && (await namedKey(context)) !== undefined;
	if (closed)
		context.out.say(
			`warning: what ${session} writes is not backed up by itself: the repository is encrypted and its passphrase in no file (--key-file)`,
		);
	const backups = wanted && !closed;
	if (!backups && watched === undefined) return;
	const options: ProtectorOptions = {
		...{ state: resolve(statePath(context)), session, backups },
		...(keyFile === undefined ? {} : { keyFile: resolve(keyFile) }),
		...(watched === undefined ? {} : { host: { type: watched.type, uri: watched.uri } }),
	};
	const child = spawn(process.execPath, [PROTECTOR, JSON.stringify(options)], {
		...{ detached: true, stdio: "ignore", cwd: "/" },
	});
	child.on("error", () => context.out.say(`warning: what ${session} writes is not backed up by itself`));
	child.unref();
}
