/** Text of guests in lines, and figures in words. */
import { plain as printable } from "../tests/text.js";

export { printable };

/** The same in one line. */
export const line = (text: string): string => printable(text).replace(/\s+/g, " ").trim();

/** "430 ms", "14.2 s", "3 min 5 s" */
export const span = (ms: number): string => {
	if (ms < 1_000) return `${Math.round(ms)} ms`;
	if (ms < 59_950) return `${(ms / 1_000).toFixed(1)} s`;
	const seconds = Math.round(ms / 1_000);
	const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor((seconds % 3_600) / 60)];
	return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`;
};

/** "1.5 GiB" */
export const bytes = (n: number): string => {
	const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
	const i = n < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(n) / 10));
	const amount = n / 1024 ** i;
	return `${i === 0 ? n : amount.toFixed(amount < 10 ? 2 : 1)} ${units[i]}`;
};

/** "2026-11-21 01:02:03 UTC"; what is no time stays as it is. */
export const utc = (time: string): string => {
	const ms = Date.parse(time);
	return Number.isNaN(ms) ? line(time) : `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")} UTC`;
};

export const counted = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;
