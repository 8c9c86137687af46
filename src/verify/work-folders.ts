/** The folder of each VM's tests, and what killed runs left in them: files, and programs that tests had started. */
import { readdirSync, readlinkSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { VerifyError } from "./errors.js";

const END_MS = 5_000;

/** Name of a VM's session, and of its folder. @param number of the VM in the run */
export const sessionOf = (run: string, number: number): string => `verify-${run.slice(0, 8)}-${number}`;

/** Ends and removes what is of no run that lives. One line for each folder. @param living ids of runs */
export const cleanWork = async (directory: string, living: () => string[]): Promise<string[]> => {
	const found = foldersIn(directory);
	// A run is noted before it makes a folder, so whoever made one of these is among them.
	const live = new Set(living().map((run) => run.slice(0, 8)));
	const lines: string[] = [];
	for (const name of found.filter((one) => !live.has(one.split("-")[1]))) {
		const folder = join(directory, name);
		const ended = await endProgramsIn(folder);
		rmSync(folder, { recursive: true, force: true });
		lines.push(`${folder} of a run that was killed${ended > 0 ? `, and ${ended} programs that ran there` : ""}`);
	}
	return lines;
};

const foldersIn = (directory: string): string[] => {
	try {
		return readdirSync(directory).filter((name) => /^verify-[0-9a-f]{8}-\d+$/.test(name));
	} catch (error) {
		if ((error as { code?: string }).code === "ENOENT") return [];
		throw error;
	}
};

/** Programs of tests begin in the test's folder. Resolves with how many there were. */
const endProgramsIn = async (folder: string): Promise<number> => {
	const ended = new Set<number>();
	for (let waited = 0; ; waited += 20) {
		const left = programsIn(folder);
		if (left.length === 0) return ended.size;
		if (waited > END_MS) throw new VerifyError("FAILED", `process ${left[0]} in ${folder} does not end: end it`);
		for (const pid of left) {
			ended.add(pid);
			try {
				process.kill(pid, "SIGKILL");
			} catch (error) {
				if ((error as { code?: string }).code !== "ESRCH") throw error;
			}
		}
		await sleep(20);
	}
};

const programsIn = (folder: string): number[] =>
	readdirSync("/proc").flatMap((name) => {
		if (!/^\d+$/.test(name)) return [];
		try {
			return `${readlinkSync(`/proc/${name}/cwd`)}/`.startsWith(`${folder}/`) ? [Number(name)] : [];
		} catch {
			// Ended meanwhile, or somebody else's.
			return [];
		}
	});
