/** springback init */
import { initRepository } from "../../repository/index.js";
import type { Command } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { firstPassphrase } from "../keys.js";
import { repositoryPath } from "../places.js";
import { compressionOption, flag, positionals, size } from "../values.js";

const command: Command = {
	summary: "creates a repository",
	help: `springback init --repo DIR [--block-size 64k] [--compression lz4] [--encrypt]
  Creates a repository in DIR (made if it is not there; must be empty).
  --block-size N  64k to 1m, a power of two; set for good (default 64k)
  --compression C  of backups that say nothing else: none, lz4 (default), zstd or zstd:1 to zstd:19
  --encrypt        encrypts data, maps and names. The passphrase comes from --key-file, the environment or a prompt.
                   Prints a recovery key, once: keep it away from this machine. Without passphrase and recovery key
                   nobody can read the backups.`,
	options: { "block-size": { type: "string" }, compression: { type: "string" }, encrypt: { type: "boolean" } },
	async run(context) {
		positionals(context, []);
		const blockSize = size(context, "block-size", 64 * 1024);
		if (blockSize < 65536 || blockSize > 1048576 || (blockSize & (blockSize - 1)) !== 0)
			throw new UsageError(`--block-size ${blockSize}: use a power of two from 64k to 1m`);
		const path = repositoryPath(context);
		const compression = compressionOption(context);
		const passphrase = flag(context, "encrypt") ? await firstPassphrase(context) : undefined;
		const { id, recoveryKey } = await initRepository(path, { blockSize, compression, passphrase });
		const lines = [`created ${recoveryKey ? "encrypted " : ""}repository ${id.slice(0, 8)} in ${path}`];
		if (recoveryKey !== undefined)
			lines.push(
				"recovery key, shown only now; it opens the repository when every passphrase is lost:",
				`  ${recoveryKey}`,
			);
		context.out.result({ repository: path, id, blockSize, recoveryKey }, lines.join("\n"));
		return EXIT.ok;
	},
};
export default command;
