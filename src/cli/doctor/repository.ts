/** Whether the repository opens and how much is in it. */
import { resolve } from "node:path";
import { sys } from "../../../native/index.js";
import { type KeySource, openRepository, RepositoryError } from "../../repository/index.js";
import { errorLine } from "../exit.js";
import { bytes } from "../output.js";
import type { Finding } from "./finding.js";

export async function checkRepository(path: string | undefined, key: KeySource | undefined): Promise<Finding[]> {
	if (!path) return [{ check: "repository", level: "ok", message: "none named (--repo, SPRINGBACK_REPO)" }];
	const directory = resolve(path);
	try {
		const repository = await openRepository(directory, { key });
		try {
			const points = await repository.points();
			const { available } = sys.statfs(directory);
			return [
				{
					check: "repository",
					level: "ok",
					message: `${directory}: ${points.length} restore points, ${bytes(available)} free`,
				},
			];
		} finally {
			await repository.close();
		}
	} catch (error) {
		if (error instanceof RepositoryError && error.code === "ENCRYPTED")
			return [
				{ check: "repository", level: "ok", message: `${directory}: encrypted; give its key to have it looked into` },
			];
		return [{ check: "repository", level: "fail", message: errorLine(error) }];
	}
}
