/** What is noted of a lab before anything of it is made, so that a later run finds what a crash left. */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { replaceFileDurably } from "../../native/durable-file.js";
import { sys } from "../../native/index.js";
import type { LabMode } from "./contract.js";

const NOTE = /^lab-([0-9a-f]{8})\.json$/;

const notePath = (directory: string, id: string): string => join(directory, `lab-${id}.json`);
const folderPath = (directory: string, id: string): string => join(directory, `lab-${id}`);

/** Durable when it returns the lab's own folder, absolute and empty. */
export const writeNote = (directory: string, id: string, mode: LabMode): string => {
	mkdirSync(directory, { recursive: true, mode: 0o700 });
	const note = { version: 1, id, mode, pid: process.pid, made: new Date().toISOString() };
	replaceFileDurably(notePath(directory, id), Buffer.from(`${JSON.stringify(note)}\n`));
	const folder = resolve(folderPath(directory, id));
	rmSync(folder, { recursive: true, force: true });
	mkdirSync(folder, { mode: 0o700 });
	return folder;
};

/** The last thing that goes. */
export const removeNote = (directory: string, id: string): void => {
	rmSync(folderPath(directory, id), { recursive: true, force: true });
	rmSync(`${notePath(directory, id)}.new`, { force: true });
	rmSync(notePath(directory, id), { force: true });
	sys.fsyncDirectory(directory);
};

/** Ids of labs that were noted here. */
export const notedLabs = (directory: string): string[] => {
	try {
		return readdirSync(directory)
			.flatMap((name) => NOTE.exec(name.replace(/\.new$/, ""))?.[1] ?? [])
			.filter((id, index, all) => all.indexOf(id) === index)
			.sort();
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
		throw error;
	}
};
