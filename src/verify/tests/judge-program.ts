/** What a program's end and its output say, wherever it ran. */
import type { TestOutcome } from "./contract.js";
import { search } from "./pattern.js";
import { quoted } from "./text.js";

export interface EndedProgram {
	code: number | null;
	/** in words: "exit code 1", or the signal */
	ended: string;
	output: string;
	/** what may say why it failed */
	complaint: string;
	/** the part of the output that is judged */
	searched: string;
	/** `performance.now()` of its start */
	began: number;
}

export const judgeProgram = (
	{ code, ended, output, complaint, searched, began }: EndedProgram,
	wanted: { code: number; expect?: string },
): TestOutcome => {
	if (code !== wanted.code) {
		const words = lastLine(complaint);
		return { ok: false, message: `${ended}, expected ${wanted.code}${words === "" ? "" : `: ${words}`}`, output };
	}
	if (wanted.expect !== undefined && !search(wanted.expect, searched))
		return { ok: false, message: `printed ${quoted(output)}, expected /${wanted.expect}/`, output };
	return {
		ok: true,
		message: output.trim() === "" ? `exit code ${code}` : `exit code ${code}: ${lastLine(output)}`,
		output,
		value: { name: "run", unit: "ms", amount: Math.round(performance.now() - began) },
	};
};

const lastLine = (text: string): string => text.trim().split("\n").at(-1) ?? "";

/** The first line of a command, for titles and messages. */
export const shorten = (command: string): string => {
	const line = command.trim().split("\n")[0];
	return line.length > 40 ? `${line.slice(0, 39)}…` : line;
};
