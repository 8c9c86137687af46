/** What verification is given by the command line: a host, the mount process, labs, notes, what earlier runs found. */
import { randomInt } from "node:crypto";
import { mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findHost, readHosts, whoStarts } from "../catalog/index.js";
import { type Hypervisor, openHost } from "../hypervisor/index.js";
import { cleanLabs, openLab } from "../lab/index.js";
import { VERSION } from "../mountd/version.js";
import type { NamedHost } from "../recovery/index.js";
import { connecting } from "../recovery/index.js";
import type { Repository } from "../repository/index.js";
import { cleanUpRuns, type LabServing, Notes, type VerifyEvent, type VerifyWorld } from "../verify/index.js";
import { kindOf, runTest } from "../verify/tests/index.js";
import type { Context } from "./command.js";
import { runningMountds } from "./mountds.js";
import { catalogPlaces, repositoryPath, statePath } from "./places.js";
import { MountdServing } from "./serving.js";

/** QEMU's monitor sockets of a VM end in a path of 107 bytes; the folder is short for that. */
const OWN_VMS = "lab";
const IN_USE_TRIES = 100;
const IN_USE_MS = 100;

class CliLabServing implements LabServing {
	readonly #serving: MountdServing;

	constructor(
		private readonly context: Context,
		repository: string,
	) {
		this.#serving = new MountdServing(context, { repository });
	}

	publish(...args: Parameters<LabServing["publish"]>): ReturnType<LabServing["publish"]> {
		return this.#serving.publish(...args);
	}

	async counts(session: string): ReturnType<LabServing["counts"]> {
		for (const client of await runningMountds(statePath(this.context)))
			try {
				const { sessions } = await client.call("stats", {});
				const found = sessions.find((one) => one.session === session);
				if (found !== undefined) return found.nbd;
			} finally {
				client.end();
			}
		return undefined;
	}

	/** A QEMU that has just ended may still be connected for a moment. */
	async drop(session: string): Promise<void> {
		if (!(await this.#serving.sessions()).some((one) => one.session === session)) return;
		for (let tries = 1; ; tries++)
			try {
				await this.#serving.end(session, "moved");
				return;
			} catch (error) {
				if ((error as { code?: string }).code !== "IN_USE" || tries === IN_USE_TRIES) throw error;
				await sleep(IN_USE_MS);
			}
	}
}

export interface VerifyingOptions {
	/** of `springback hosts`; null: QEMU on this machine, in a folder of ours */
	host: string | null;
	repository: Repository;
	/** ids of points that an earlier run has judged */
	verified(): Promise<Set<string>>;
	event(event: VerifyEvent): void;
	/** the command line, for the report */
	command: string;
}

/** Takes away what killed runs left, runs `work`, and lets go of the hosts that it has used. */
export async function inVerifyWorld<T>(
	context: Context,
	{ host: name, repository, verified, event, command }: VerifyingOptions,
	work: (world: VerifyWorld) => Promise<T>,
): Promise<T> {
	const state = statePath(context);
	const opened = new Map<string | null, NamedHost & { connection?: Promise<Hypervisor> }>();
	const hostOf = (wanted: string | null): NamedHost => {
		const known = opened.get(wanted);
		if (known !== undefined) return known;
		const place = wanted === null ? ownHost(state) : knownHost(context, wanted);
		const named: NamedHost & { connection?: Promise<Hypervisor> } = connecting(place, () => {
			named.connection = openHost(place.type, place.uri);
			return named.connection;
		});
		opened.set(wanted, named);
		return named;
	};
	const serving = new CliLabServing(context, repositoryPath(context));
	const world: VerifyWorld = {
		...{ repository, serving, openLab, cleanLabs, kindOf, runTest, verified, event },
		host: hostOf(name),
		notes: new Notes(join(state, "verify", "runs")),
		directory: join(state, "verify", "work"),
		random: (limit) => randomInt(limit),
		now: () => new Date(),
		say: (line) => context.out.say(line),
		signal: context.signal,
		by: { user: whoStarts(), machine: hostname(), command },
		springback: VERSION,
		repositoryPath: repositoryPath(context),
	};
	try {
		for (const line of await cleanUpRuns(world, (wanted) => hostOf(wanted).open()))
			context.out.say(`cleaned up: ${line}`);
		return await work(world);
	} finally {
		for (const { connection } of opened.values()) await connection?.then((one) => one.close()).catch(() => undefined);
	}
}

/** QEMU on this machine: nothing needs to be set up for it. */
const ownHost = (state: string): Omit<NamedHost, "open"> => {
	const folder = join(state, OWN_VMS);
	mkdirSync(folder, { recursive: true, mode: 0o700 });
	return { name: "this machine", type: "qemu", uri: `qemu://${folder.split("/").map(encodeURIComponent).join("/")}` };
};

const knownHost = (context: Context, name: string): Omit<NamedHost, "open"> => {
	const places = catalogPlaces(context);
	findHost(places, name);
	return readHosts(places).get(name)!;
};
