/**
 * Client of the QEMU guest agent: runs commands inside a guest that has `qemu-guest-agent`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { JsonLines } from "./json-lines.js";

export interface GuestResult {
	code: number;
	stdout: string;
	stderr: string;
}

interface ExecStatus {
	exited: boolean;
	exitcode?: number;
	"out-data"?: string;
	"err-data"?: string;
}

export class GuestAgent {
	readonly #path: string;
	#lines: JsonLines | undefined;

	/** @param path socket of the agent's virtio-serial port */
	constructor(path: string) {
		this.#path = path;
	}

	/** Waits until the agent answers. @param milliseconds gives up after this long */
	async ready(milliseconds: number): Promise<void> {
		const deadline = Date.now() + milliseconds;
		while (Date.now() < deadline) {
			// A fresh connection each time: QEMU drops what it queued for a port that nobody had opened yet.
			this.close();
			const lines = await JsonLines.connect(this.#path);
			this.#lines = lines;
			const id = Math.floor(Math.random() * 2 ** 30);
			const answer = await Promise.race([
				lines.request({ execute: "guest-sync", arguments: { id } }).catch(() => undefined),
				sleep(Math.min(2000, deadline - Date.now())),
			]);
			if (answer === id) return;
		}
		throw new Error(`the guest agent did not answer within ${milliseconds} ms`);
	}

	/** Runs a shell command in the guest to its end. A failing command is a result, not an error. */
	async run(command: string, milliseconds = 60_000): Promise<GuestResult> {
		const deadline = Date.now() + milliseconds;
		const { pid } = (await this.#call("guest-exec", {
			path: "/bin/sh",
			arg: ["-c", command],
			"capture-output": true,
		})) as { pid: number };
		for (;;) {
			const status = (await this.#call("guest-exec-status", { pid })) as ExecStatus;
			if (status.exited) {
				const text = (data: string | undefined) => Buffer.from(data ?? "", "base64").toString("utf8");
				return {
					code: status.exitcode ?? -1,
					stdout: text(status["out-data"]),
					stderr: text(status["err-data"]),
				};
			}
			if (Date.now() > deadline) throw new Error(`guest command still runs after ${milliseconds} ms: ${command}`);
			await sleep(50);
		}
	}

	close(): void {
		this.#lines?.close();
		this.#lines = undefined;
	}

	#call(execute: string, args: Record<string, unknown>): Promise<unknown> {
		if (!this.#lines) throw new Error("the guest agent is not connected");
		return this.#lines.request({ execute, arguments: args });
	}
}
