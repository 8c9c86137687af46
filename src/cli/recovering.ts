/** What the recovery flows are given by the command line: hosts of the configuration, notes, the mount process. */
import { join } from "node:path";
import { findHost, readHosts } from "../catalog/index.js";
import { openHost } from "../hypervisor/index.js";
import { connecting, type NamedHost, Records, type World } from "../recovery/index.js";
import type { Context } from "./command.js";
import { catalogPlaces, statePath } from "./places.js";
import { MountdServing, type ServingOptions } from "./serving.js";

export const recordsOf = (context: Context): Records => new Records(join(statePath(context), "recoveries"));

/** Runs `work`, then lets go of the hosts that it has used. */
export async function inWorld<T>(
	context: Context,
	options: Partial<ServingOptions>,
	work: (world: World) => Promise<T>,
): Promise<T> {
	const places = catalogPlaces(context);
	const opened: Promise<{ close(): Promise<void> }>[] = [];
	const hosts = [...readHosts(places).values()].map((host): NamedHost => {
		return connecting(host, () => {
			const opening = openHost(host.type, host.uri);
			opened.push(opening);
			return opening;
		});
	});
	try {
		return await work({
			serving: new MountdServing(context, options),
			records: recordsOf(context),
			host(name) {
				findHost(places, name);
				return hosts.find((host) => host.name === name)!;
			},
			hosts,
			say: (line) => context.out.say(line),
			signal: context.signal,
			now: () => new Date(),
		});
	} finally {
		for (const opening of opened) await opening.then((host) => host.close()).catch(() => undefined);
	}
}
