/** Documents for virsh, which reads them from files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ownFolder } from "./lock.js";

/** The files are there until `work` ends. */
export const withFiles = async <T>(texts: string[], work: (paths: string[]) => Promise<T>): Promise<T> => {
	const folder = mkdtempSync(join(ownFolder(), "xml-"));
	try {
		const paths = texts.map((text, n) => {
			const path = join(folder, `${n}.xml`);
			writeFileSync(path, text, { mode: 0o600 });
			return path;
		});
		return await work(paths);
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
};
