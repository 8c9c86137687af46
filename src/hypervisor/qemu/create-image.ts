/** New image files, made by QEMU itself, so that no other tool is needed. */
import { existsSync, rmSync } from "node:fs";
import { concluded } from "./jobs.js";
import type { Qmp } from "./qmp.js";

/** Makes a file of `size` bytes; the node over it is the caller's to add. Leaves nothing when it fails. */
export const createImage = async (
	qmp: Qmp,
	filename: string,
	format: "raw" | "qcow2",
	size: number,
	tag: string,
): Promise<void> => {
	if (existsSync(filename)) throw new Error(`${filename} exists already`);
	const job = `springback-create-${tag}`;
	const node = `springback-new-${tag}`;
	const run = async (options: object) => {
		await qmp.execute("blockdev-create", { "job-id": job, options });
		await concluded(qmp, job);
	};
	try {
		await run({ driver: "file", filename, size: format === "raw" ? size : 0 });
		if (format === "raw") return;
		await qmp.execute("blockdev-add", { driver: "file", "node-name": node, filename });
		try {
			await run({ driver: "qcow2", file: node, size });
		} finally {
			await qmp.execute("blockdev-del", { "node-name": node });
		}
	} catch (error) {
		rmSync(filename, { force: true });
		throw error;
	}
};
