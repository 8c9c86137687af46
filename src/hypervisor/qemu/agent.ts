/**
 * The QEMU guest agent (docs/interop/qemu-ga-ref of QEMU). What it says comes from the guest and is not trusted: it may
 * lie, hang or talk nonsense, and only delays us for the time given.
 */
import { randomInt } from "node:crypto";
import { HypervisorError } from "../errors.js";
import { JsonSocket } from "./json-socket.js";

const SYNC_MS = 3_000;

export class GuestAgent {
	private constructor(private readonly socket: JsonSocket) {}

	/** Rejects with NO_AGENT when nothing answers in time. */
	static async connect(path: string, ms = SYNC_MS): Promise<GuestAgent> {
		const none = (why: string) =>
			new HypervisorError(
				"NO_AGENT",
				`the guest's agent does not answer (${why}): install and start qemu-guest-agent in it`,
			);
		let socket: JsonSocket;
		try {
			socket = await JsonSocket.connect(path);
		} catch {
			throw none("the VM has no port for it, or is off");
		}
		try {
			// Answers to what others asked before us may still come: only ours has this number.
			await socket.sync("guest-sync", randomInt(2 ** 31), ms);
			return new GuestAgent(socket);
		} catch {
			socket.close();
			throw none(`not within ${ms} ms`);
		}
	}

	/** Rejects with QmpError when the agent refuses, or with HypervisorError TIMEOUT or UNREACHABLE. */
	call<T = unknown>(command: string, args: object = {}, ms = 10_000): Promise<T> {
		return this.socket.request(command, args, ms, false) as Promise<T>;
	}

	/** Asks without waiting for an answer: the agent does it when it wakes up again. */
	send(command: string): void {
		this.socket.send(command);
	}

	close(): void {
		this.socket.close();
	}
}
