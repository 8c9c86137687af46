/** Takes everything away that a lab's id stands for on this machine. Harmless when repeated, and after any half of it. */
import { existsSync, readdirSync, readlinkSync, rmSync, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { LabError } from "../errors.js";
import { idIn, names, SCANNED } from "../names.js";
import { run } from "../run.js";

const END_MS = 10_000;

/** What there was, in words; empty: nothing. */
export const takeAway = async (id: string): Promise<string[]> => {
	const its = names(id);
	const found: string[] = [];
	const links = (await deviceNames()).filter((name) => idIn(name) === id);
	// The way in first: what is deleted here is gone at once, while a namespace goes in its own time.
	for (const link of links) await ignoreMissing(run("ip", ["link", "del", link]));
	if (links.length > 0) found.push(`${links.length} network devices`);
	if ((await tables()).includes(its.hostTable)) {
		await ignoreMissing(run("nft", ["delete", "table", "netdev", its.hostTable]));
		found.push("packet rules");
	}
	if (existsSync(its.namespacePath)) {
		const ended = await endProcesses(its.namespacePath);
		if (ended > 0) found.push(`${ended} processes`);
		await ignoreMissing(run("ip", ["netns", "del", its.namespace]));
		found.push("a network namespace");
	}
	if (existsSync(its.run)) {
		rmSync(its.run, { recursive: true, force: true });
		found.push(its.run);
	}
	return found;
};

/** Ids of labs of which anything is on this machine, whoever made them. */
export const scan = async (): Promise<string[]> => {
	const all = [...(await deviceNames()), ...(await tables()), ...Object.values(SCANNED).flatMap(entries)];
	return [...new Set(all.map(idIn).filter((id) => id !== undefined))].sort();
};

const entries = (folder: string): string[] => {
	try {
		return readdirSync(folder);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
		throw error;
	}
};

/** Without the program there is nothing that it has made. */
const listed = (program: string, args: string[]): Promise<string> =>
	run(program, args).catch((error: LabError) => {
		if (error.code === "UNSUPPORTED") return "";
		throw error;
	});

/** Of this process's own namespace. */
const deviceNames = async (): Promise<string[]> =>
	(JSON.parse((await listed("ip", ["-j", "link", "show"])) || "[]") as { ifname: string }[]).map(
		({ ifname }) => ifname,
	);

const tables = async (): Promise<string[]> =>
	(await listed("nft", ["list", "tables"])).split("\n").flatMap((line) => /^table netdev (\S+)$/.exec(line)?.[1] ?? []);

/** Somebody else may take the same things away at the same time. */
const ignoreMissing = (call: Promise<unknown>): Promise<unknown> =>
	call.catch((error: Error) => {
		if (!/Cannot find device|No such (device|file)|does not exist/i.test(error.message)) throw error;
	});

/** Everything that runs in a lab is the lab's. Resolves when none is left with how many there were. */
const endProcesses = async (namespacePath: string): Promise<number> => {
	const ended = new Set<number>();
	for (let waited = 0; ; waited += 20) {
		const left = processesIn(namespacePath);
		if (left.length === 0) return ended.size;
		if (waited > END_MS)
			throw new LabError("FAILED", `${namespacePath}: process ${left[0]} does not end: end it, then try again`);
		for (const pid of left) {
			ended.add(pid);
			try {
				process.kill(pid, "SIGKILL");
			} catch (error) {
				if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
			}
		}
		await sleep(20);
	}
};

const processesIn = (namespacePath: string): number[] => {
	// A name whose namespace was never mounted is an empty file, of no process.
	const wanted = `net:[${statSync(namespacePath).ino}]`;
	return readdirSync("/proc").flatMap((entry) => {
		if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return [];
		try {
			return readlinkSync(`/proc/${entry}/ns/net`) === wanted ? [Number(entry)] : [];
		} catch {
			// Ended meanwhile.
			return [];
		}
	});
};
