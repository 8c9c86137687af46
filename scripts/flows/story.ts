/**
 * How a flow of the demo speaks: numbered steps with their time, remarks, closing tables.
 */

export class Story {
	#count = 0;

	/** Runs a step; its line appears at once and gets its time at the end. */
	async step<T>(text: string, work: () => Promise<T>): Promise<T> {
		const begin = Date.now();
		const line = `${String(++this.#count).padStart(2)}  ${text} …`;
		process.stdout.write(line.padEnd(62));
		try {
			const result = await work();
			process.stdout.write(`${((Date.now() - begin) / 1000).toFixed(1).padStart(6)} s\n`);
			return result;
		} catch (cause) {
			process.stdout.write("failed\n");
			throw cause;
		}
	}

	note(text: string): void {
		process.stdout.write(`    ${text}\n`);
	}

	/** Columns as wide as their widest cell; all but the first to the right when there are more than two. */
	table(rows: string[][]): void {
		const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
		const line = (row: string[]) =>
			row
				.map((cell, column) =>
					column > 0 && row.length > 2 ? cell.padStart(widths[column]) : cell.padEnd(widths[column]),
				)
				.join("   ")
				.trimEnd();
		process.stdout.write(`\n${rows.map((row) => `    ${line(row)}\n`).join("")}`);
	}
}

export function bytes(count: number): string {
	if (count < 1024) return `${count} B`;
	const units = ["KiB", "MiB", "GiB", "TiB"];
	let value = count / 1024;
	while (value >= 1024 && units.length > 1) {
		value /= 1024;
		units.shift();
	}
	return `${value.toFixed(value < 10 ? 2 : 1)} ${units[0]}`;
}

export function seconds(count: number): string {
	return `${count.toFixed(count < 10 ? 2 : 1)} s`;
}

/** Of what was looked at to what was left of it. What is left counts whole blocks, so it can be a little more. */
export function ratio(whole: number, part: number): string {
	if (whole === 0) return "-";
	return part === 0 ? "all" : `${Math.max(1, whole / part).toFixed(2)} : 1`;
}
