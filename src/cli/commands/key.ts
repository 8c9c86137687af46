/** springback key */
import { KeyManager } from "../../repository/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { newPassphrase, passphrase } from "../keys.js";
import { localTime, table } from "../output.js";
import { repositoryPath } from "../places.js";
import { flag, positionals } from "../values.js";

const command: Command = {
	summary: "adds, removes, lists and changes the passphrases of an encrypted repository",
	help: `springback key list
  Lists passphrases and recovery keys: id, kind and date, never the secret.
springback key add [--recovery]
  Adds a passphrase, or with --recovery a new recovery key, which is printed once.
springback key change [ID]
  Replaces a passphrase: the one that was given, or the one that ID names.
springback key remove ID
  Removes a passphrase or recovery key; never the last one.
  --new-key-file FILE  the new passphrase (or SPRINGBACK_NEW_PASSPHRASE, or a prompt)
  Data is not rewritten. Who had a removed passphrase and a copy of the repository from before can still read that.`,
	options: { recovery: { type: "boolean" }, "new-key-file": { type: "string" } },
	async run(context) {
		const [verb, id] = positionals(context, ["list, add, change or remove", "ID"], 1);
		if (id !== undefined && verb !== "change" && verb !== "remove") throw new UsageError(`key ${verb} takes no ID`);
		if (flag(context, "recovery") && verb !== "add") throw new UsageError("--recovery is for key add");
		const act = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
		if (act === undefined) throw new UsageError(`key ${verb}: use list, add, change or remove`);
		const keys = await KeyManager.open(repositoryPath(context));
		try {
			return await act(context, keys, id);
		} finally {
			await keys.close();
		}
	},
};
export default command;

const KINDS = { passphrase: "passphrase", recovery: "recovery key", damaged: "damaged key" };

type Act = (context: Context, keys: KeyManager, id: string | undefined) => Promise<number>;

const VERBS: Record<string, Act> = {
	async list({ out }, manager) {
		const { keys, bad } = await manager.list();
		const rows = keys.map(({ id, kind, created }) => [id.slice(0, 8), kind, localTime(created)]);
		for (const [id, why] of bad) out.say(`key ${id} is damaged (${why}): restore keys/${id} from a copy, or remove it`);
		out.result(keys, table(["KEY", "KIND", "CREATED"], rows));
		return bad.size > 0 ? EXIT.warnings : EXIT.ok;
	},
	async add(context, manager) {
		const unlocked = await manager.unlock(await passphrase(context));
		if (flag(context, "recovery")) {
			const key = await manager.addRecoveryKey(unlocked);
			context.out.result(key, `added recovery key ${key.id.slice(0, 8)}; it is shown only now:\n  ${key.recoveryKey}`);
			return EXIT.ok;
		}
		const key = await manager.addPassphrase(unlocked, await newPassphrase(context));
		context.out.result(key, `added passphrase ${key.id.slice(0, 8)}`);
		return EXIT.ok;
	},
	async change(context, manager, id) {
		const unlocked = await manager.unlock(await passphrase(context));
		const key = await manager.change(unlocked, await newPassphrase(context), id);
		context.out.result(key, `changed: the passphrase is now key ${key.id.slice(0, 8)}`);
		return EXIT.ok;
	},
	async remove(context, manager, id) {
		if (id === undefined) throw new UsageError("ID is missing: springback key list shows them");
		const key = await manager.remove(await manager.unlock(await passphrase(context)), id);
		context.out.result(key, `removed ${KINDS[key.kind]} ${key.id.slice(0, 8)}`);
		return EXIT.ok;
	},
};
