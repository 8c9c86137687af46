/** Asks for a secret on the terminal, without echo. */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";

export const canAsk = (): boolean => process.stdin.isTTY === true && process.stderr.isTTY === true;

/** What was typed, without the end of line; rejects with code INTERRUPTED after Ctrl-C or the end of input. */
export function askSecret(question: string): Promise<Buffer> {
	// The line editor echoes into nothing; it also turns off the terminal's echo, so the question comes after it.
	const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
	const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 });
	process.stderr.write(question);
	return new Promise((resolve, reject) => {
		const stopped = () => {
			process.stderr.write("\n");
			reject(Object.assign(new Error("interrupted: no passphrase was given"), { code: "INTERRUPTED" }));
		};
		terminal.once("SIGINT", () => terminal.close());
		terminal.once("close", stopped);
		terminal.once("line", (line) => {
			terminal.off("close", stopped);
			terminal.close();
			process.stderr.write("\n");
			resolve(Buffer.from(line));
		});
	});
}
