/** The least of QMP (docs/interop/qmp-spec.txt of QEMU): one command at a time over a pair of streams. */
import type { Readable, Writable } from "node:stream";

/** A reply of QEMU is small; a longer line means that it was taken over. */
const MAX_LINE = 4 * 1024 * 1024;

export class Qmp {
	private text = "";
	private waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void } | undefined;
	private ended: Error | undefined;
	/** resolves with QEMU's greeting */
	readonly ready: Promise<unknown>;

	constructor(
		private readonly input: Writable,
		output: Readable,
	) {
		this.ready = this.wait();
		this.ready.catch(() => {});
		output.setEncoding("utf8");
		output.on("data", (piece: string) => this.receive(piece));
		output.on("end", () => this.end(new Error("QEMU ended")));
		input.on("error", (error) => this.end(error));
	}

	/** Rejects with QEMU's own description. */
	execute(command: string, args: object = {}): Promise<unknown> {
		const answer = this.wait();
		if (!this.ended) this.input.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
		return answer;
	}

	/** Fails what is waiting and all that comes. */
	end(error: Error): void {
		this.ended ??= error;
		this.waiting?.reject(this.ended);
		this.waiting = undefined;
	}

	private wait(): Promise<unknown> {
		return new Promise((resolve, reject) => {
			if (this.ended) reject(this.ended);
			else this.waiting = { resolve, reject };
		});
	}

	private receive(piece: string): void {
		this.text += piece;
		for (let at = this.text.indexOf("\n"); at >= 0; at = this.text.indexOf("\n")) {
			const line = this.text.slice(0, at);
			this.text = this.text.slice(at + 1);
			this.answer(line);
		}
		if (this.text.length > MAX_LINE) this.end(new Error("QEMU talks too much"));
	}

	private answer(line: string): void {
		let message: { return?: unknown; QMP?: unknown; error?: { desc?: string } };
		try {
			message = JSON.parse(line);
		} catch {
			this.end(new Error("QEMU answered with something that is not JSON"));
			return;
		}
		const { waiting } = this;
		if (!waiting || !("return" in message || "error" in message || "QMP" in message)) return;
		this.waiting = undefined;
		if (message.error) waiting.reject(new Error(String(message.error.desc).split("\n")[0].slice(0, 500)));
		else waiting.resolve(message.return ?? message.QMP);
	}
}
