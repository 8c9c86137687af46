/** stdout is for results, stderr for people. */
import { type ProgressLine, progressLine } from "./progress.js";

export class Output {
	constructor(
		readonly json: boolean,
		private readonly quiet: boolean,
	) {}

	/** A result: the document itself with --json, else the text. */
	result(document: unknown, text: string): void {
		process.stdout.write(
			this.json ? `${JSON.stringify(document)}\n` : text.endsWith("\n") || !text ? text : `${text}\n`,
		);
	}

	/** One JSON line on stdout whatever the format. */
	event(document: unknown): void {
		process.stdout.write(`${JSON.stringify(document)}\n`);
	}

	/** A message for a person. */
	say(line: string): void {
		process.stderr.write(`${line}\n`);
	}

	progress(label: string): ProgressLine {
		return progressLine(label, this.quiet);
	}
}

/** Columns padded to their widest cell; numbers to the right. */
export function table(head: string[], rows: (string | number)[][]): string {
	const cells = [head, ...rows.map((row) => row.map(String))];
	const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i].length)));
	const numeric = head.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === "number"));
	return cells
		.map((row) =>
			row
				.map((cell, i) => (numeric[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
				.join("  ")
				.trimEnd(),
		)
		.join("\n");
}

/** "1.5 GiB" */
export function bytes(n: number): string {
	const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
	let i = 0;
	while (n >= 1024 && i < units.length - 1) {
		n /= 1024;
		i++;
	}
	return `${i === 0 ? n : n.toFixed(n < 10 ? 2 : 1)} ${units[i]}`;
}

/** Local time with offset, as people read it: "2026-11-21 01:02:03 +01:00". */
export function localTime(utc: string): string {
	const date = new Date(utc);
	const offset = -date.getTimezoneOffset();
	const two = (n: number) => String(Math.floor(Math.abs(n))).padStart(2, "0");
	const shifted = new Date(date.getTime() + offset * 60_000).toISOString();
	return `${shifted.slice(0, 10)} ${shifted.slice(11, 19)} ${offset < 0 ? "-" : "+"}${two(offset / 60)}:${two(offset % 60)}`;
}
