/** springback init */
import { initRepository, openRepository } from "../../repository/index.js";
import type { Command } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { repositoryPath } from "../places.js";
import { flag, positionals, size } from "../values.js";

const command: Command = {
	summary: "creates a repository",
	help: `springback init --repo DIR [--block-size 64k]
  Creates a repository in DIR (made if it is not there; must be empty).
  --block-size N  64k to 1m, a power of two; set for good (default 64k)`,
	options: { "block-size": { type: "string" }, encrypt: { type: "boolean" } },
	async run(context) {
		positionals(context, []);
		if (flag(context, "encrypt"))
			throw new UsageError(
				"--encrypt: the format has encryption, this release does not write it yet; put the repository on an encrypted file system instead",
			);
		const blockSize = size(context, "block-size", 64 * 1024);
		if (blockSize < 65536 || blockSize > 1048576 || (blockSize & (blockSize - 1)) !== 0)
			throw new UsageError(`--block-size ${blockSize}: use a power of two from 64k to 1m`);
		const path = repositoryPath(context);
		await initRepository(path, { blockSize });
		const repository = await openRepository(path);
		const { id } = repository;
		await repository.close();
		context.out.result({ repository: path, id, blockSize }, `created repository ${id.slice(0, 8)} in ${path}`);
		return EXIT.ok;
	},
};
export default command;
