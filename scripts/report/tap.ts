/**
 * Reads a TAP stream of test files as node-tap writes it (testanything.org, version 14: subtests are indented by four)
 * and counts the tests at the top of each file.
 */

export type Outcome = "passed" | "failed" | "skipped";

export interface TestReport {
	name: string;
	outcome: Outcome;
}

export interface FileReport {
	name: string;
	outcome: Outcome;
	/** milliseconds */
	time: number;
	/** at least one: a file that fails outside its tests, or has none, stands for itself */
	tests: TestReport[];
	/** the innermost failed points with their diagnostics, as they stand in the stream */
	failures: string[];
}

const point = /^( *)(not )?ok\b(?: \d+)?(?: - (.*?))?(?: # time=([\d.]+)ms)?( \{)?$/;
const directive = /^(.*?)(?:^| )# (SKIP|TODO)\b.*$/i;

/** Takes line after line; `onFile` hears of each test file as soon as its last line is in. */
export class TapReader {
	#tests: TestReport[] = [];
	#failures: string[] = [];
	/** indentation of the diagnostic block that is being read, and whether it is wanted */
	#block: { indent: string; keep: boolean } | undefined;
	/** the last point was a failure whose diagnostics are wanted */
	#keep = false;
	/** indentation of the last failure: one further out is only its parent */
	#failedAt = -1;
	/** a file whose point came first, with its tests between braces */
	#open: { name: string; outcome: Outcome; time: number } | undefined;
	/** a file's own diagnostics follow its point, so it is handed over when the next thing begins */
	#done: FileReport | undefined;

	constructor(readonly onFile: (report: FileReport) => void) {}

	line(text: string): void {
		if (this.#inBlock(text)) return;
		if (text === "}" && this.#open) {
			this.#endFile(this.#open.name, this.#open.outcome, this.#open.time);
			this.#open = undefined;
			return;
		}
		const match = point.exec(text.trimEnd());
		if (!match) {
			if (text.trim() !== "") this.#keep = false;
			return;
		}
		const [, indent, not, described = "", time, brace] = match;
		const marked = directive.exec(described);
		const name = (marked ? marked[1] : described).trim();
		const outcome: Outcome = marked ? "skipped" : not ? "failed" : "passed";
		this.#flush();
		this.#keep = outcome === "failed" && indent.length >= this.#failedAt;
		if (outcome === "failed") this.#failedAt = indent.length;
		if (this.#keep) this.#failures.push(text);
		if (indent.length === 4) this.#tests.push({ name, outcome });
		if (indent.length > 0) return;
		if (brace) this.#open = { name, outcome, time: Number(time ?? 0) };
		else this.#endFile(name, outcome, Number(time ?? 0));
	}

	/** The stream ended. */
	end(): void {
		this.#flush();
		// Tests without the line that closes their file: the runner itself was cut off.
		if (this.#tests.length > 0 || this.#open) {
			this.#failures.push("the stream ended in the middle of a file");
			this.#endFile("unfinished file", "failed", 0);
			this.#flush();
		}
	}

	#inBlock(text: string): boolean {
		if (this.#block) {
			if (this.#block.keep) this.#failures.push(text);
			if (text.trimEnd() === `${this.#block.indent}...`) this.#block = undefined;
			return true;
		}
		if (text.trim() !== "---") return false;
		this.#block = { indent: text.slice(0, text.indexOf("-")), keep: this.#keep };
		return true;
	}

	#endFile(name: string, outcome: Outcome, time: number): void {
		const tests = this.#tests;
		const explained = tests.some((test) => test.outcome === "failed");
		if (tests.length === 0 || (outcome === "failed" && !explained)) tests.push({ name: "the file itself", outcome });
		this.#done = { name, outcome, time, tests, failures: this.#failures };
		this.#tests = [];
		this.#failures = this.#done.failures;
	}

	#flush(): void {
		if (!this.#done) return;
		this.onFile(this.#done);
		this.#done = undefined;
		this.#failures = [];
		this.#failedAt = -1;
	}
}
