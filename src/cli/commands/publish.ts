/** springback publish */
import { resolve } from "node:path";
import { DEFAULT_CACHE_BYTES, DEFAULT_MOUNT_PORT, DEFAULT_NFS_PORT, type MountdConfig } from "../../mountd/config.js";
import type { ControlClient } from "../../mountd/control-client.js";
import type { HelloResult, PublishParams } from "../../mountd/protocol.js";
import { SessionStore } from "../../mountd/session-store.js";
import { findMountd } from "../../mountd/start.js";
import { NBD_PORT } from "../../nbd/index.js";
import { unlockRepository } from "../../repository/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { keySource } from "../keys.js";
import { askMountd } from "../mountds.js";
import { repositoryPath, statePath } from "../places.js";
import { address, flag, port, positionals, size, text, texts } from "../values.js";

/** How long a killed mount process may take to come back before we say so. */
const RECONNECT_MS = 100;
const RECONNECT_TRIES = 600;

const command: Command = {
	summary: "serves a restore point as a writable session over NFS",
	help: `springback publish VM[@POINT] [--session NAME] [--detach]
  Serves the point's disks and configuration in a folder of their own until SIGINT or SIGTERM. Writes go to the
  session, never to the repository, and are kept: the same --session NAME continues it. Prints one JSON line
  when ready.
  --session NAME   name of the folder and the export (default: from VM and time)
  --detach         return when ready; "springback finish" ends it
  --listen A       address to listen on (default 127.0.0.1)
  --nfs-port N     default ${DEFAULT_NFS_PORT}; 0 picks a free one
  --mount-port N   default ${DEFAULT_MOUNT_PORT}; 0 picks a free one
  --no-portmap     do not answer or register with the port mapper (111)
  --client A       address or network that may mount it; repeat (default loopback only)
  --read-only      clients may change nothing, for as long as it is served this time
  --require-privileged-port
                   only clients whose port is below 1024: there, only root may use those
  --sync           make every write stable, also unstable ones: for QEMU's nfs://, which would not notice that this
                   machine lost power; slower
  --cache-size N   memory for decoded blocks, shared by all sessions (default 512m)
  --nbd-port N     NBD over TCP, too; ${NBD_PORT} is customary, 0 picks a free one (default off)
  --nbd-socket F   NBD's Unix socket (default in the state directory)
  --nbd-tls DIR    server-cert.pem and server-key.pem: TLS for all NBD over TCP; with ca-cert.pem, clients need a
                   certificate, too
  --metrics-port N Prometheus metrics at http://A:N/metrics (default off; 0 picks a free port)`,
	options: {
		session: { type: "string" },
		detach: { type: "boolean" },
		listen: { type: "string" },
		"nfs-port": { type: "string" },
		"mount-port": { type: "string" },
		"no-portmap": { type: "boolean" },
		client: { type: "string", multiple: true },
		"read-only": { type: "boolean" },
		"require-privileged-port": { type: "boolean" },
		sync: { type: "boolean" },
		"cache-size": { type: "string" },
		"metrics-port": { type: "string" },
		"nbd-port": { type: "string" },
		"nbd-socket": { type: "string" },
		"nbd-tls": { type: "string" },
	},
	async run(context) {
		const [spec] = positionals(context, ["VM[@POINT]"]);
		const repository = repositoryPath(context);
		// Before anything is started: a wrong passphrase is found here.
		const unlocked = await unlockRepository(repository, keySource(context));
		const params: PublishParams = {
			spec,
			repository,
			key: unlocked && { repository: unlocked.repository, master: unlocked.master.toString("hex") },
			session: text(context, "session"),
			clients: texts(context, "client"),
			readOnly: flag(context, "read-only"),
			privilegedPorts: flag(context, "require-privileged-port"),
			sync: flag(context, "sync"),
			ownerUid: process.getuid?.() ?? 0,
		};
		const config = mountdConfig(context);
		const { client, result: ready } = await askMountd(config, async (client) => {
			refuseOtherPorts(context, config, await client.call("hello", {}));
			return client.call("publish", params);
		});
		context.out.event({ event: "ready", ...ready });
		if (flag(context, "detach")) {
			client.end();
			return EXIT.ok;
		}
		context.out.say(`${ready.session} is ready at ${ready.url}; Ctrl-C ends serving, what was written is kept`);
		await serveUntilSignal(context, config, client, ready.session);
		return EXIT.ok;
	},
};
export default command;

function mountdConfig(context: Context): MountdConfig {
	const path = (option: string) => text(context, option) && resolve(text(context, option)!);
	if (text(context, "nbd-tls") !== undefined && text(context, "nbd-port") === undefined)
		throw new UsageError("--nbd-tls is for NBD over TCP: it wants --nbd-port");
	return {
		state: resolve(statePath(context)),
		listen: address(context, "listen", "127.0.0.1"),
		nfsPort: port(context, "nfs-port", DEFAULT_NFS_PORT),
		mountPort: port(context, "mount-port", DEFAULT_MOUNT_PORT),
		portmap: flag(context, "no-portmap") ? "off" : "auto",
		clients: texts(context, "client"),
		privilegedPorts: flag(context, "require-privileged-port"),
		cacheBytes: size(context, "cache-size", DEFAULT_CACHE_BYTES),
		metricsPort: text(context, "metrics-port") === undefined ? undefined : port(context, "metrics-port", 0),
		nbdPort: text(context, "nbd-port") === undefined ? undefined : port(context, "nbd-port", 0),
		nbdSocket: path("nbd-socket"),
		nbdTls: path("nbd-tls"),
	};
}

/** A mount process that runs already keeps its ports: asking it for others must not be ignored silently. */
function refuseOtherPorts(context: Context, config: MountdConfig, running: HelloResult): void {
	for (const [option, wanted, has] of [
		["nfs-port", config.nfsPort, running.nfsPort],
		["mount-port", config.mountPort, running.mountPort],
		["metrics-port", config.metricsPort, running.metricsPort ?? null],
		["nbd-port", config.nbdPort, running.nbdPort ?? null],
		["nbd-socket", config.nbdSocket, running.nbdSocket ?? null],
		["nbd-tls", config.nbdTls, running.nbdTls ?? null],
	] as const) {
		if (text(context, option) !== undefined && (has === null || (wanted !== 0 && wanted !== has)))
			throw new UsageError(
				`--${option} ${wanted}: the mount process of ${config.state} (pid ${running.pid}) ${has === null ? "has none" : `listens on ${has}`}; leave the option out, or use another --state`,
			);
	}
}

/**
 * Waits for the signal, then ends the session. A mount process that was killed and restarted meanwhile is joined
 * again, also when the signal comes first: nobody else would end the session.
 */
async function serveUntilSignal(context: Context, config: MountdConfig, client: ControlClient, session: string) {
	const stopped = new Promise<"stop">((resolve) => {
		if (context.signal.aborted) resolve("stop");
		context.signal.addEventListener("abort", () => resolve("stop"));
	});
	let current = client;
	for (;;) {
		const next = await Promise.race([stopped, current.closed.then(() => "gone" as const)]);
		const result = next === "stop" ? await close(current, session) : undefined;
		if (result) {
			current.end();
			context.out.say(
				result.outcome === "parked"
					? `${session} is no longer served; continue it with --session ${session}`
					: `${session} is gone; nothing had been written to it`,
			);
			return;
		}
		if (finished(config.state, session)) {
			context.out.say(`${session} was finished by another command`);
			return;
		}
		context.out.say("the mount process ended; waiting for it to come back");
		const again = await reconnect(config);
		if (!again)
			throw new Error(`the mount process did not come back; run the same command again to continue session ${session}`);
		current = again;
	}
}

/** undefined: the mount process was killed before it answered. */
async function close(client: ControlClient, session: string) {
	try {
		return await client.call("close", { session });
	} catch (error) {
		if ((error as { code?: string }).code === "GONE") return undefined;
		throw error;
	}
}

/** No longer to be served, by what is on disk: `finish` ends the mount process with its last session. */
function finished(state: string, session: string): boolean {
	return new SessionStore(state).find(session)?.record.state !== "open";
}

async function reconnect(config: MountdConfig): Promise<ControlClient | undefined> {
	for (let tries = 0; tries < RECONNECT_TRIES; tries++) {
		const client = await findMountd(config.state, config.listen);
		if (client) return client;
		await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
	}
	return undefined;
}
