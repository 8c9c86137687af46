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
			const counts = unit === "items" ? `${done} of ${total}` : `${bytes(done)} of ${bytes(total)}, ${bytes(rate)}/s`;
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
