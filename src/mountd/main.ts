/**
 * The mount process. Arguments: one JSON document (MountdConfig). Started by supervisor.ts; reports on file
 * descriptor 3, once, that it listens or why it cannot.
 */
import { constants as C, closeSync, readFileSync, writeSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { replaceFileDurably } from "../../native/durable-file.js";
import { sys } from "../../native/index.js";
import { Datastore } from "../datastore/datastore.js";
import { loadIdentity } from "../datastore/identity.js";
import { type NfsServer, startNfsServer } from "../nfs/server.js";
import { wallClockNs } from "./clock.js";
import { LOOPBACK, type MountdConfig, type RememberedConfig, STARTED_FD, type Started } from "./config.js";
import { startControlServer } from "./control-server.js";
import { KeyHolder } from "./keys.js";
import { prometheusText } from "./metrics.js";
import { type MetricsServer, startMetricsServer } from "./metrics-server.js";
import { NbdService } from "./nbd/service.js";
import { addressPaths } from "./paths.js";
import { ControlError } from "./protocol.js";
import { Publisher } from "./publisher.js";
import { SessionStore } from "./session-store.js";
import { StatsCollector } from "./stats.js";
import { VERSION } from "./version.js";

/**
 * The heap is collected when it is twice what was in use, by default only at up to four times: the memory of this
 * process follows what it does. A V8 that does not know the flag says so and goes on.
 */
setFlagsFromString("--heap-growing-percent=100");

const NOTE_INTERVAL_MS = 5_000;
const PURGE_INTERVAL_MS = 3_600_000;

const config = JSON.parse(process.argv[2] ?? "null") as MountdConfig | null;
if (!config) {
	process.stderr.write('the mount process is started by "springback publish"\n');
	process.exit(2);
}

const log = (line: string): void => {
	process.stdout.write(`${new Date().toISOString()} mountd[${process.pid}] ${line}\n`);
};

/** The starter waits for this; nobody is there to read after a restart. */
function report(started: Started): void {
	try {
		writeSync(STARTED_FD, `${JSON.stringify(started)}\n`);
		closeSync(STARTED_FD);
	} catch {
		// A restart, or the command that started us is gone: serving matters, not the report.
	}
}

process.on("uncaughtException", (error) => {
	// State is on disk and the supervisor starts us again in a clean state, which is safer than going on in this one.
	log(`internal error, restarting: ${error.stack ?? error.message}`);
	process.exit(70);
});
process.on("SIGHUP", () => undefined);

async function run(config: MountdConfig): Promise<void> {
	const paths = addressPaths(config.state, config.listen);
	const store = new SessionStore(config.state);
	const lock = sys.open(paths.lock, C.O_RDWR | C.O_CREAT, 0o600);
	if (!sys.lock(lock, "exclusive", 0, 1))
		throw new ControlError("RUNNING", `another mount process serves ${config.listen} from ${config.state}`);

	const identity = loadIdentity(store.paths.identity);
	const datastore = new Datastore({
		identity,
		now: wallClockNs,
		directory: store.paths.sessions,
		ownerUid: process.getuid?.() ?? 0,
		clients: config.clients.length ? config.clients : LOOPBACK,
		privilegedPorts: config.privilegedPorts,
		log,
	});
	for (const name of store.purge(new Date())) log(`session ${name}: deleted from the trash`);

	let nfs: NfsServer | undefined;
	let metrics: MetricsServer | undefined;
	let nbd: NbdService | undefined;
	const keys = await KeyHolder.receive();
	const publisher = new Publisher({
		keys,
		store,
		datastore,
		listen: config.listen,
		cacheBytes: config.cacheBytes,
		now: () => new Date(),
		nowNs: wallClockNs,
		log,
		ports: () => ({ nfsPort: nfs?.nfsPort ?? 0, mountPort: nfs?.mountPort ?? 0, metricsPort: metrics?.port }),
		inUse: (session) => datastore.inUse(session) || nbd?.inUse(session) === true,
		nbd: (record) => nbd?.disks(record) ?? [],
	});
	// Sessions first: a client that reconnects must never meet a server that does not know its handles.
	await publisher.resume();

	const wanted = rememberedPorts(paths.ports, config);
	nfs = await startNfsServer({
		fileSystem: datastore,
		listen: config.listen,
		nfsPort: wanted.nfsPort,
		mountPort: wanted.mountPort,
		portmap: config.portmap,
		now: wallClockNs,
		log,
	});
	const { nfsPort, mountPort, portmap } = nfs;
	const stats = new StatsCollector(config.listen, nfs.stats, publisher, () => new Date());
	if (wanted.metricsPort !== undefined) {
		try {
			const text = () => prometheusText(stats.collect());
			metrics = await startMetricsServer(config.listen, wanted.metricsPort, text, log);
		} catch (error) {
			// Disks go on without metrics; only the command that asked for them is refused.
			if (!config.restart) {
				await nfs.close();
				throw error;
			}
			log(`metrics are off: ${(error as Error).message}`);
		}
	}
	try {
		const sessions = () => publisher.servingSessions();
		nbd = await NbdService.start({ config: wanted, defaultSocket: paths.nbdSocket, datastore, sessions, log });
	} catch (error) {
		await nfs.close();
		throw error;
	}
	const ports: RememberedConfig = {
		nfsPort,
		mountPort,
		portmap: config.portmap,
		clients: config.clients,
		privilegedPorts: config.privilegedPorts,
		cacheBytes: config.cacheBytes,
		metricsPort: metrics?.port ?? wanted.metricsPort,
		nbdPort: nbd.port ?? wanted.nbdPort,
		nbdSocket: wanted.nbdSocket,
		nbdTls: wanted.nbdTls,
	};
	replaceFileDurably(paths.ports, Buffer.from(`${JSON.stringify(ports)}\n`));

	let ending = false;
	const end = async (why: string): Promise<void> => {
		if (ending) return;
		ending = true;
		log(`ending: ${why}`);
		await control.close();
		await metrics?.close();
		stats.close();
		await Promise.all([nfs?.close(), nbd?.close()]);
		await publisher.shutdown();
		process.exit(0);
	};
	const endWhenIdle = () => {
		// A little later, so that the reply leaves first and a publish right behind it still finds us.
		setTimeout(() => {
			if (publisher.idle) void end("no session is left");
		}, 200);
	};

	const control = await startControlServer(
		paths.socket,
		{
			hello: async () => ({
				version: VERSION,
				pid: process.pid,
				listen: config.listen,
				nfsPort,
				mountPort,
				metricsPort: metrics?.port ?? null,
				nbdPort: nbd?.port ?? null,
				nbdSocket: nbd?.socket ?? null,
				nbdTls: wanted.nbdTls ?? null,
				portmap,
				sessions: publisher.count,
			}),
			publish: async (params) => {
				try {
					if (ending) throw new ControlError("ENDING", "the mount process is ending; try again");
					return await publisher.publish(params);
				} finally {
					if (publisher.count === 0) endWhenIdle();
				}
			},
			close: async ({ session }) => {
				const result = await publisher.close(session);
				if (result.ending) endWhenIdle();
				return result;
			},
			finish: async (params) => {
				if (ending) throw new ControlError("ENDING", "the mount process is ending; try again");
				const result = await publisher.finish(params);
				if (publisher.count === 0) endWhenIdle();
				return result;
			},
			protected: async ({ session, until }) => {
				publisher.noteProtected(session, until);
				return {};
			},
			sessions: () => publisher.sessions(),
			stats: async () => stats.collect(),
		},
		log,
	);
	setInterval(() => publisher.noteAll(), NOTE_INTERVAL_MS).unref();
	setInterval(() => {
		for (const name of store.purge(new Date())) log(`session ${name}: deleted from the trash`);
	}, PURGE_INTERVAL_MS).unref();
	for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void end(signal));
	log(`listening on ${config.listen}, nfs ${nfsPort}, mount ${mountPort}, portmap ${portmap}`);
	report({ event: "listening", pid: process.pid });
}

/** A restart takes the ports that clients know, also where the first start picked free ones. */
function rememberedPorts(path: string, config: MountdConfig): MountdConfig {
	if (!config.restart) return config;
	try {
		return { ...config, ...JSON.parse(readFileSync(path, "utf8")) };
	} catch {
		return config;
	}
}

run(config).catch((error) => {
	const code = (error as { code?: string }).code ?? "INTERNAL";
	log(`cannot start: ${error instanceof Error ? (code === "INTERNAL" ? error.stack : error.message) : error}`);
	report({ event: "error", code, message: (error as Error).message });
	process.exit(config.restart ? 75 : 1);
});
