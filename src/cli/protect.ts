/** Starts the process that makes restore points of what a recovered VM writes, until it is home. */
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { RecoveryRecord } from "../recovery/index.js";
import type { Context } from "./command.js";
import { namedKey } from "./keys.js";
import { statePath } from "./places.js";
import { text } from "./values.js";

const PROTECTOR = fileURLToPath(new URL("./protector.js", import.meta.url));

export interface ProtectorOptions {
	/** absolute state directory */
	state: string;
	session: string;
	/** of an encrypted repository */
	keyFile?: string;
}

/** One that runs already makes a second one end at once. Like the mount process it outlives the terminal. */
export async function protect(context: Context, { session, protectMs }: RecoveryRecord): Promise<void> {
	if (protectMs === null) return;
	const keyFile = text(context, "key-file") ?? process.env.SPRINGBACK_PASSPHRASE_FILE;
	if (keyFile === undefined && (await namedKey(context)) !== undefined) {
		context.out.say(
			`warning: what ${session} writes is not backed up by itself: the repository is encrypted and its passphrase in no file (--key-file)`,
		);
		return;
	}
	const options: ProtectorOptions = {
		...{ state: resolve(statePath(context)), session },
		...(keyFile === undefined ? {} : { keyFile: resolve(keyFile) }),
	};
	const child = spawn(process.execPath, [PROTECTOR, JSON.stringify(options)], {
		...{ detached: true, stdio: "ignore", cwd: "/" },
	});
	child.on("error", () => context.out.say(`warning: what ${session} writes is not backed up by itself`));
	child.unref();
}
