/**
 * A stand-in for QEMU's guest agent on Windows, written from its protocol (docs/interop/qemu-ga-ref of QEMU) and from what
 * `vssadmin` and `reg` print: it has VSS writers, which go through their states, and a registry with one value.
 */
import { createServer, type Server, type Socket } from "node:net";

export interface FakeWriter {
	name: string;
	/** states that it goes through each time that it is looked at; the last one stays */
	states: number[];
	error?: string;
}

/** What vssadmin prints around a writer's facts. */
export interface Language {
	writer: (name: string) => string;
	state: string;
	words: string;
	error: (error: string) => string;
}

export const ENGLISH: Language = {
	writer: (name) => `Writer name: '${name}'`,
	state: "State",
	words: "Stable",
	error: (error) => `Last error: ${error}`,
};
export const GERMAN: Language = {
	writer: (name) => `Verfassername: "${name}"`,
	state: "Status",
	words: "Stabil",
	error: (error) => `Letzter Fehler: ${error === "No error" ? "Kein Fehler" : error}`,
};

const HEAD =
	"vssadmin 1.1 - Volume Shadow Copy Service administrative command-line tool\r\n(C) Copyright 2001-2013 Microsoft Corp.\r\n\r\n";

export class WindowsAgent {
	/** commands, and programs with their arguments */
	readonly asked: string[] = [];
	writers: FakeWriter[] = [
		{ name: "System Writer", states: [1] },
		{ name: "SqlServerWriter", states: [1] },
	];
	/** taken from the end of the freeze on */
	writersAfter: FakeWriter[] | undefined;
	language = ENGLISH;
	version = "8.2.0";
	/** in the registry */
	type: number | undefined = 1;
	/** that was set when the guest froze */
	typeAtFreeze: number | undefined;
	frozen = false;
	/** guest-exec is among the commands that the agent was told to refuse */
	runsNothing = false;
	#server: Server | undefined;
	readonly #sockets = new Set<Socket>();
	readonly #ended = new Map<number, { code: number; text: string }>();
	#pid = 100;

	/** As QEMU's socket of the agent's port. */
	listen(path: string): this {
		this.#server = createServer((socket) => this.serve(socket)).listen(path);
		return this;
	}

	/** Speaks on a connection that leads to the agent's port. */
	serve(socket: Socket): void {
		this.#sockets.add(socket);
		let text = "";
		socket.on("error", () => {});
		socket.setEncoding("latin1").on("data", (piece) => {
			text += String(piece).replaceAll("\u00ff", "");
			for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n")) {
				const line = text.slice(0, at);
				text = text.slice(at + 1);
				if (line.trim() !== "") socket.write(`${JSON.stringify(this.#answer(line))}\n`);
			}
		});
	}

	#answer(line: string): object {
		const { execute, arguments: args = {} } = JSON.parse(line);
		this.asked.push(execute);
		switch (execute) {
			case "guest-sync":
			case "guest-sync-delimited":
				return { return: args.id };
			case "guest-ping":
				return { return: {} };
			case "guest-info":
				return { return: { version: this.version, supported_commands: [] } };
			case "guest-get-osinfo":
				return { return: { id: "mswindows", name: "Microsoft Windows", version: "10.0" } };
			case "guest-fsfreeze-freeze":
				this.frozen = true;
				this.typeAtFreeze = this.type;
				return { return: 2 };
			case "guest-fsfreeze-thaw": {
				const count = this.frozen ? 2 : 0;
				if (this.frozen && this.writersAfter !== undefined) this.writers = this.writersAfter;
				this.frozen = false;
				return { return: count };
			}
			case "guest-exec": {
				if (this.runsNothing) return error("CommandNotFound", "Command guest-exec has been disabled");
				if (this.frozen) return error("GenericError", "guest-exec is not available while frozen");
				const pid = this.#pid++;
				this.#ended.set(pid, this.#run(args.path, args.arg));
				return { return: { pid } };
			}
			case "guest-exec-status": {
				const { code, text } = this.#ended.get(args.pid)!;
				return { return: { exited: true, exitcode: code, "out-data": Buffer.from(text, "latin1").toString("base64") } };
			}
			default:
				return error("CommandNotFound", `The command ${execute} has not been found`);
		}
	}

	#run(program: string, args: string[]): { code: number; text: string } {
		this.asked.push([program, ...args].join(" "));
		if (/vssadmin/i.test(program)) return { code: 0, text: HEAD + this.#listed() };
		const [verb, key] = args;
		if (!key.endsWith("\\Services\\QEMU Guest Agent VSS Provider")) return { code: 1, text: "" };
		if (verb === "add") this.type = Number(args[args.indexOf("/d") + 1]);
		if (verb === "delete") this.type = undefined;
		if (verb === "query" && this.type === undefined)
			return { code: 1, text: "ERROR: The system was unable to find the specified registry key or value.\r\n" };
		return { code: 0, text: `\r\n${key}\r\n    VssOption    REG_DWORD    0x${(this.type ?? 0).toString(16)}\r\n\r\n` };
	}

	#listed(): string {
		const { writer, state, words, error } = this.language;
		return this.writers
			.map(({ name, states, error: last = "No error" }, n) => {
				const now = states.length > 1 ? states.shift()! : states[0];
				const id = `{d61d61c8-d73a-4eee-8cdd-f6f9786b71${String(n).padStart(2, "0")}}`;
				const lines = [writer(name), `Writer Id: ${id}`, `Writer Instance Id: ${id}`];
				return [...lines, `${state}: [${now}] ${now === 1 ? words : "-"}`, error(last)].join("\r\n   ");
			})
			.map((block) => `${block}\r\n\r\n`)
			.join("");
	}

	close(): void {
		for (const socket of this.#sockets) socket.destroy();
		this.#server?.close();
	}
}

const error = (kind: string, desc: string): object => ({ error: { class: kind, desc } });
