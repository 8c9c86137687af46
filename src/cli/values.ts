/** Reads option values; a bad one is a usage error that names the option. */
import { isIP } from "node:net";
import { parseCompression } from "../repository/index.js";
import type { Context } from "./command.js";
import { UsageError } from "./exit.js";

const UNITS: Record<string, number> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

export function text({ values }: Context, option: string): string | undefined {
	return values[option] as string | undefined;
}

export function texts({ values }: Context, option: string): string[] {
	return (values[option] as string[] | undefined) ?? [];
}

export function flag({ values }: Context, option: string): boolean {
	return values[option] === true;
}

/** "64k", "512m", "1g": bytes */
export function size(context: Context, option: string, fallback: number): number {
	const value = text(context, option);
	if (value === undefined) return fallback;
	const match = /^(\d+)([kmgt]?)(?:i?b)?$/i.exec(value);
	const n = match ? Number(match[1]) * UNITS[match[2].toLowerCase()] : Number.NaN;
	if (!Number.isSafeInteger(n)) throw new UsageError(`--${option} ${value}: not a size; write bytes or 64k, 512m, 1g`);
	return n;
}

/** "1s", "500ms", "2m", or seconds: milliseconds */
export function duration(context: Context, option: string, fallback: number): number {
	const value = text(context, option);
	if (value === undefined) return fallback;
	const match = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(value);
	const ms = match ? Number(match[1]) * { ms: 1, s: 1000, m: 60_000 }[(match[2] ?? "s") as "ms" | "s" | "m"] : 0;
	if (!(ms >= 100 && ms <= 86_400_000))
		throw new UsageError(`--${option} ${value}: not a duration from 100ms to a day; write 1s, 500ms or 2m`);
	return ms;
}

/** A whole number from 0; undefined when the option is not given. */
export function count(context: Context, option: string): number | undefined {
	const value = text(context, option);
	if (value === undefined) return undefined;
	const n = /^\d+$/.test(value) ? Number(value) : Number.NaN;
	if (!Number.isSafeInteger(n)) throw new UsageError(`--${option} ${value}: not a number; use 0, 1, 2, …`);
	return n;
}

/** "12h", "7d", "2w", "6m" (months), "1y", or several: calendar years and months, and hours */
export function span(context: Context, option: string): { years: number; months: number; hours: number } | undefined {
	const value = text(context, option);
	if (value === undefined) return undefined;
	const match = /^(?=\d)(?:(\d{1,4})y)?(?:(\d{1,5})m)?(?:(\d{1,6})w)?(?:(\d{1,6})d)?(?:(\d{1,7})h)?$/.exec(value);
	if (match === null)
		throw new UsageError(`--${option} ${value}: not a duration; write 12h, 7d, 2w, 6m (months), 1y, or 1y6m`);
	const [years, months, weeks, days, hours] = match.slice(1).map((n) => Number(n ?? 0));
	return { years, months, hours: hours + 24 * (days + 7 * weeks) };
}

/** 0 to 65535; 0 lets the system choose. */
export function port(context: Context, option: string, fallback: number): number {
	const value = text(context, option);
	if (value === undefined) return fallback;
	const n = /^\d+$/.test(value) ? Number(value) : Number.NaN;
	if (!(n <= 65535)) throw new UsageError(`--${option} ${value}: not a port; use 0 to 65535`);
	return n;
}

export function address(context: Context, option: string, fallback: string): string {
	const value = text(context, option) ?? fallback;
	if (isIP(value) === 0)
		throw new UsageError(`--${option} ${value}: not an IP address; recovery must not depend on name service`);
	return value;
}

/** What `--compression` names; undefined when it is left out. */
export function compressionOption(context: Context): string | undefined {
	const value = text(context, "compression");
	if (value !== undefined && parseCompression(value) === undefined)
		throw new UsageError(`--compression ${value}: use none, lz4, zstd or zstd:1 to zstd:19`);
	return value;
}

/** Exactly `count` positional arguments (or at least `min`). */
export function positionals({ positionals }: Context, names: string[], min = names.length): string[] {
	if (positionals.length < min) throw new UsageError(`${names[positionals.length]} is missing`);
	if (positionals.length > names.length) throw new UsageError(`"${positionals[names.length]}": one argument too many`);
	return positionals;
}
