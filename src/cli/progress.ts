/** Progress on stderr: one redrawn bar on a terminal, plain lines otherwise. */
import { bytes } from "./output.js";

export interface ProgressLine {
	/** `unit` "items": counts things, not bytes */
	update(p: { done: number; total: number; what: string; unit?: "bytes" | "items" }): void;
	/** Clears the bar. */
	end(): void;
}

const REDRAW_MS = 100;
const PLAIN_MS = 5_000;
const BAR_WIDTH = 30;
const NOTHING: ProgressLine = { update() {}, end() {} };

export function progressLine(label: string, quiet: boolean): ProgressLine {
	if (quiet) return NOTHING;
	const terminal = process.stderr.isTTY === true;
	const started = Date.now();
	let last = terminal ? 0 : started;
	let drawn = false;
	return {
		update({ done, total, what, unit }) {
			const now = Date.now();
			if (now - last < (terminal ? REDRAW_MS : PLAIN_MS)) return;
			last = now;
			const share = total > 0 ? Math.min(1, done / total) : 0;
			const rate = done / Math.max(0.001, (now - started) / 1000);
			const left = rate > 0 && total > done ? `, ${remaining((total - done) / rate)} left` : "";
			const counts =
				unit === "items" ? `${done} of ${total}` : `${bytes(done)} of ${bytes(total)}, ${bytes(rate)}/s${left}`;
			const text = `${label} ${what} ${(share * 100).toFixed(0)}% ${counts}`;
			if (!terminal) {
				process.stderr.write(`${text}\n`);
				return;
			}
			const full = Math.round(share * BAR_WIDTH);
			process.stderr.write(`\r\x1b[K[${"#".repeat(full)}${".".repeat(BAR_WIDTH - full)}] ${text}`);
			drawn = true;
		},
		end() {
			if (drawn) process.stderr.write("\r\x1b[K");
			drawn = false;
		},
	};
}

/** "40 s", "3 min", "2 h 5 min" */
function remaining(seconds: number): string {
	if (seconds < 90) return `${Math.ceil(seconds)} s`;
	const minutes = Math.ceil(seconds / 60);
	return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
