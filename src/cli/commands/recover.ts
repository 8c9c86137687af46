/** springback recover */

import { statSync } from "node:fs";
import { resolve } from "node:path";
import { DEFAULT_MOUNT_PORT, DEFAULT_NFS_PORT, type MountdConfig } from "../../mountd/config.js";
import { NBD_PORT } from "../../nbd/index.js";
import { type Plan, type Recovered, recover } from "../../recovery/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed } from "../keys.js";
import { repositoryPath } from "../places.js";
import { protect } from "../protect.js";
import { inWorld } from "../recovering.js";
import { address, duration, flag, port, positionals, text, texts } from "../values.js";

const DEFAULT_WAIT_MS = 300_000;
const DEFAULT_PROTECT_MS = 15 * 60_000;

const command: Command = {
	summary: "runs a VM from its restore point on a host, at once",
	help: `springback recover VM[@POINT] --host NAME [--dry-run]
  Publishes the point, registers a VM over it on the host, powers it on, and waits for its first sign of life. A dry run
  goes first and refuses by name what cannot work. What fails is undone. The same command again continues what was
  interrupted, "springback finish SESSION" ends it. Then: springback migrate SESSION --to STORAGE.
  --host NAME        where it runs (springback hosts)
  --name N           name of the VM there (default: as it was called)
  --network FROM=TO  a network of the original, and which it is there; repeat. Other cards have no link, unless the
                     host is the one that the VM comes from
  --isolated         beside an original that runs: new UUID and MAC addresses, no link
  --replace          powers the original off, and renames it
  --original-gone    you know that the original does not run, where springback cannot
  --power-off        registers it, does not power it on
  --session NAME     name of the session (default: from VM and time); continues one that exists
  --redirect DIR     keeps what the VM writes below DIR (default: the state directory)
  --service CMD      waits until this shell command succeeds in the guest (needs its agent)
  --protect T        how often what the VM writes becomes a restore point, until it has migrated: 15m unless told
                     otherwise, or off
  --wait T           for signs of life, at most (default 5m)
  --listen A         the host is another machine: our address that it reaches; disks go over NBD and TCP
  --client A         that machine's address, with --listen; repeat
  --nbd-port N       with --listen (default ${NBD_PORT}), or where QEMU runs as another user (default a free one)
  --nfs-port N, --mount-port N, --no-portmap   as in publish, when the mount process is not running yet
  Exit 4 when the VM was powered on and showed no sign of life in time: it runs on.`,
	options: {
		host: { type: "string" },
		name: { type: "string" },
		network: { type: "string", multiple: true },
		isolated: { type: "boolean" },
		replace: { type: "boolean" },
		"original-gone": { type: "boolean" },
		"power-off": { type: "boolean" },
		"dry-run": { type: "boolean" },
		session: { type: "string" },
		redirect: { type: "string" },
		service: { type: "string" },
		protect: { type: "string" },
		wait: { type: "string" },
		listen: { type: "string" },
		client: { type: "string", multiple: true },
		"nbd-port": { type: "string" },
		"nfs-port": { type: "string" },
		"mount-port": { type: "string" },
		"no-portmap": { type: "boolean" },
	},
	async run(context) {
		const [spec] = positionals(context, ["VM[@POINT]"]);
		const host = text(context, "host");
		if (host === undefined) throw new UsageError("--host NAME is missing: springback hosts lists them");
		const request = {
			...planOptions(context),
			...{ host, repository: repositoryPath(context), session: sessionName(context), redirect: redirect(context) },
			listen: text(context, "listen") === undefined ? undefined : address(context, "listen", ""),
			powerOn: !flag(context, "power-off"),
			protectMs: protectMs(context),
			dryRun: flag(context, "dry-run"),
			service: text(context, "service"),
			waitMs: duration(context, "wait", DEFAULT_WAIT_MS),
			// Node counts from the start of the process.
			elapsed: () => Math.round(performance.now()),
		};
		const serving = {
			repository: request.repository,
			config: mountdOptions(context),
			clients: texts(context, "client"),
		};
		return inWorld(context, serving, async (world) => {
			// A host that is not known is found before anything else.
			const target = world.host(host);
			if (new URL(target.uri).hostname !== "" && request.listen === undefined)
				throw new UsageError(
					`${host} is another machine (${target.uri}): --listen ADDRESS says where it reaches this one`,
				);
			const repository = await openNamed(context);
			try {
				const done = await recover(request, repository, spec, world);
				if ("plan" in done && "point" in done) return reportPlan(context, done.point, host, done.plan);
				await protect(context, done.record, (await target.open()).stoppedByDisk && target);
				return report(context, done);
			} finally {
				await repository.close();
			}
		});
	},
};
export default command;

/** Options about what the VM is to be; `restore` takes them, too. */
export function planOptions(context: Context) {
	if (flag(context, "isolated") && flag(context, "replace"))
		throw new UsageError("--isolated and --replace exclude each other");
	const networks = texts(context, "network").map((pair): [string, string] => {
		const [, from, to] = /^([^=]+)=(.+)$/.exec(pair) ?? [];
		if (from === undefined) throw new UsageError(`--network ${pair}: write FROM=TO`);
		return [from, to];
	});
	return {
		name: text(context, "name"),
		networks: Object.fromEntries(networks),
		isolated: flag(context, "isolated"),
		replace: flag(context, "replace"),
		originalGone: flag(context, "original-gone"),
	};
}

function protectMs(context: Context): number | null {
	return text(context, "protect") === "off" ? null : duration(context, "protect", DEFAULT_PROTECT_MS);
}

function sessionName(context: Context): string | undefined {
	const session = text(context, "session");
	if (session !== undefined && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(session))
		throw new UsageError(
			`--session ${session}: use 1 to 64 letters, digits, ".", "_" or "-", not starting with a sign`,
		);
	return session;
}

function redirect(context: Context): string | undefined {
	const directory = text(context, "redirect");
	if (directory === undefined) return undefined;
	if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true)
		throw new UsageError(`--redirect ${directory}: is not a directory`);
	return resolve(directory);
}

function mountdOptions(context: Context): Partial<MountdConfig> {
	const remote = text(context, "listen") !== undefined;
	return {
		...(text(context, "nfs-port") === undefined ? {} : { nfsPort: port(context, "nfs-port", DEFAULT_NFS_PORT) }),
		...(text(context, "mount-port") === undefined
			? {}
			: { mountPort: port(context, "mount-port", DEFAULT_MOUNT_PORT) }),
		...(flag(context, "no-portmap") ? { portmap: "off" as const } : {}),
		...(remote || text(context, "nbd-port") !== undefined ? { nbdPort: port(context, "nbd-port", NBD_PORT) } : {}),
		...(remote ? { clients: texts(context, "client") } : {}),
	};
}

function reportPlan(context: Context, point: { id: string; vm: string }, host: string, plan: Plan): number {
	const { name, config, networks, kept, space, findings, refused } = plan;
	context.out.result(
		{
			...{ dryRun: true, vm: point.vm, point: point.id, host, name, identity: kept ? "kept" : "new", space, findings },
			...{ config, networks, refused: refused.length > 0 },
		},
		[
			...findings.map(({ level, what, message }) => `${level.padEnd(8)} ${what}: ${message}`),
			refused.length > 0
				? `${point.vm} cannot be recovered to ${host} like this`
				: `${name} can be recovered to ${host}`,
		].join("\n"),
	);
	return refused.length > 0 ? EXIT.failure : EXIT.ok;
}

function report(context: Context, { record, plan, life }: Recovered): number {
	const { session, vm, point, host, name, id, replaced } = record;
	const seconds = (ms: number | null | undefined): number | null => (ms == null ? null : ms / 1000);
	const times = {
		powerOn: seconds(life?.powerOn),
		signOfLife: seconds(life?.signOfLife),
		service: seconds(life?.service),
	};
	const connected = record.config.nics.some(
		(nic) => nic.connected && nic.network !== null && record.networks[nic.network] !== undefined,
	);
	context.out.result(
		{
			...{ session, vm, point, host, name, id, continued: plan === undefined, connected, times },
			...{ addresses: life?.addresses ?? [], replaced: replaced && { name: replaced.aside.name, host: replaced.host } },
			...(plan && { identity: plan.kept ? "kept" : "new", space: plan.space, findings: plan.findings }),
		},
		lines(record, times, life?.addresses ?? []).join("\n"),
	);
	if (life === undefined) return EXIT.ok;
	if (context.signal.aborted && life.signOfLife === null) {
		context.out.say(`no longer waiting; ${name} runs on; springback finish ${session} ends it`);
		return EXIT.interrupted;
	}
	if (life.signOfLife !== null && (text(context, "service") === undefined || life.service !== null)) return EXIT.ok;
	const missing = life.signOfLife === null ? "showed no sign of life" : "is there, its service is not";
	context.out.say(
		`warning: ${name} ${missing} yet; it runs on: see its screen, or its agent; springback finish ${session} ends it`,
	);
	return EXIT.warnings;
}

function lines(
	{ session, host, name, powerOn }: Recovered["record"],
	times: { powerOn: number | null; signOfLife: number | null; service: number | null },
	addresses: string[],
): string[] {
	const after = (seconds: number | null): string => (seconds === null ? "-" : `${seconds.toFixed(1)} s`);
	return [
		`${name} ${powerOn ? "runs" : "is registered"} on ${host} from session ${session}${addresses.length > 0 ? `, address ${addresses.join(", ")}` : ""}`,
		...(powerOn
			? [
					`from the command to power-on ${after(times.powerOn)}, sign of life ${after(times.signOfLife)}, service ${after(times.service)}`,
				]
			: []),
		`springback migrate ${session} --to STORAGE brings it home; until then what it writes is only in this session`,
	];
}
