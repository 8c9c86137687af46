/** QMP over a UNIX socket (docs/interop/qmp-spec.txt of QEMU). One client at a time: connections are kept short. */
import { setTimeout as sleep } from "node:timers/promises";
import { causeOf, HypervisorError } from "../errors.js";
import { JsonSocket } from "./json-socket.js";

const CONNECT_MS = 10_000;
const QUEUE_MS = 20;
const COMMAND_MS = 60_000;
/** sun_path of unix(7) holds 108 bytes with the final zero. */
export const SOCKET_PATH_MAX = 107;

export class Qmp {
	private constructor(private readonly socket: JsonSocket) {}

	/** Undefined when no QEMU listens there, or it is about to end. Rejects with BUSY when another client keeps it. */
	static async connect(path: string): Promise<Qmp | undefined> {
		if (Buffer.byteLength(path) > SOCKET_PATH_MAX)
			throw new HypervisorError(
				"INVALID",
				`${path}: a socket's path has ${SOCKET_PATH_MAX} bytes at most: use a shorter folder`,
			);
		let socket: JsonSocket;
		try {
			socket = await connected(path);
		} catch (error) {
			const { code } = error as { code?: string };
			// A QEMU that was killed leaves its socket.
			if (code === "ENOENT" || code === "ECONNREFUSED") return undefined;
			const denied = code === "EACCES" || code === "EPERM";
			throw new HypervisorError(
				denied ? "DENIED" : "UNREACHABLE",
				`${path}: ${denied ? "permission denied: run as the owner of the VM, or as root" : causeOf(error)}`,
			);
		}
		try {
			if (!(await greeting(socket, path))) return undefined;
			const qmp = new Qmp(socket);
			await qmp.execute("qmp_capabilities");
			return qmp;
		} catch (error) {
			socket.close();
			throw error;
		}
	}

	/** Rejects with QmpError, or HypervisorError TIMEOUT or UNREACHABLE. */
	execute<T = unknown>(command: string, args: object = {}, ms = COMMAND_MS): Promise<T> {
		return this.socket.request(command, args, ms) as Promise<T>;
	}

	close(): void {
		this.socket.close();
	}
}

/** QEMU lets one client wait behind the one it serves; whoever comes then is told EAGAIN by the kernel (unix(7)). */
const connected = async (path: string): Promise<JsonSocket> => {
	const until = Date.now() + CONNECT_MS;
	for (;;)
		try {
			return await JsonSocket.connect(path);
		} catch (error) {
			if ((error as { code?: string }).code !== "EAGAIN" || Date.now() > until) throw error;
			await sleep(QUEUE_MS);
		}
};

/** False when QEMU hangs up instead: it is ending. Rejects when it is not QEMU that answers. */
const greeting = (socket: JsonSocket, path: string): Promise<boolean> =>
	new Promise((resolve, reject) => {
		const busy = () =>
			reject(
				new HypervisorError("BUSY", `${path}: QEMU does not answer: another program keeps its monitor, or it hangs`),
			);
		const timer = setTimeout(busy, CONNECT_MS);
		const stop = () => {
			clearTimeout(timer);
			socket.onOther = () => {};
			socket.onEnd = () => {};
		};
		const done = (greeted: boolean) => {
			stop();
			resolve(greeted);
		};
		socket.onOther = ({ QMP }) => {
			if (QMP !== undefined) done(true);
		};
		socket.onEnd = (why, heard) => {
			if (heard) return done(false);
			stop();
			reject(why);
		};
	});
