/**
 * nfs-ganesha on the plain raw file: the server beside which ours is measured. It wants a portmapper, so one is started
 * in the benchmark's own network, where port 111 is free; their sockets are hidden from the machine's own by a /run of
 * our own.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { Server } from "../measure/process.js";

const NFS_PORT = 22049;
const MOUNT_PORT = 22048;
const PLUGINS = "/usr/lib/x86_64-linux-gnu/ganesha";

export interface ExportedFile {
	/** what a client mounts; the file is in it by its own name */
	folder: string;
	nfsPort: number;
	mountPort: number;
	/** pid of the server */
	pid: number;
	stop(): Promise<void>;
}

/** Fails for those who cannot run it: both programs change users, which a namespace of one's own does not allow. */
export function requireGanesha(): void {
	if (process.getuid?.() !== 0) throw new Error("nfs-ganesha and rpcbind run as root only: run this benchmark as root");
}

/** Exports the directory of `file` over NFSv3, read and write. */
export async function ganesha(file: string, directory: string): Promise<ExportedFile> {
	hideRun();
	const folder = dirname(file);
	const configuration = join(directory, "ganesha.conf");
	writeFileSync(configuration, config(folder));
	const portmapper = new Server(["rpcbind", "-w", "-f"], join(directory, "rpcbind.log"));
	let server: Server | undefined;
	try {
		await portmapper.ready(() => listening(111), 10_000);
		const log = join(directory, "ganesha.log");
		const files = ["-f", configuration, "-p", join(directory, "ganesha.pid"), "-L", log];
		server = new Server(["ganesha.nfsd", "-F", ...files], log);
		await server.ready(() => listening(NFS_PORT), 30_000);
		await server.ready(() => listening(MOUNT_PORT), 30_000);
	} catch (cause) {
		await server?.stop();
		await portmapper.stop();
		throw cause;
	}
	const running = server;
	return {
		folder,
		nfsPort: NFS_PORT,
		mountPort: MOUNT_PORT,
		pid: running.process.pid ?? -1,
		stop: async () => {
			await running.stop();
			await portmapper.stop();
		},
	};
}

/** Its defaults, but for ports, protocol and what would only add log lines. The namespace has no address but loopback. */
function config(folder: string): string {
	return `NFS_CORE_PARAM {
	NFS_Port = ${NFS_PORT}; MNT_Port = ${MOUNT_PORT}; Protocols = 3; Plugins_Dir = "${PLUGINS}";
	Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;
}
NFS_KRB5 { Active_krb5 = false; }
EXPORT {
	Export_Id = 1; Path = "${folder}"; Pseudo = /bench; Access_Type = RW; Squash = No_Root_Squash;
	Protocols = 3; Transports = TCP; SecType = sys; FSAL { Name = VFS; }
}
LOG { Default_Log_Level = WARN; }
`;
}

let runHidden = false;

/** Both programs keep sockets in /run; this process has a mount namespace of its own, so nobody else sees this one. */
function hideRun(): void {
	if (runHidden) return;
	const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], { encoding: "utf8" });
	if (mounted.status !== 0) throw new Error(`cannot mount an empty /run: ${mounted.stderr.trim()}`);
	mkdirSync("/run/ganesha");
	runHidden = true;
}

/** true when something accepts connections there, undefined otherwise */
function listening(port: number): Promise<true | undefined> {
	return new Promise((resolve) => {
		const socket = connect(port, "127.0.0.1");
		socket.once("connect", () => {
			socket.destroy();
			resolve(true);
		});
		socket.once("error", () => resolve(undefined));
	});
}
