/**
 * Whether a document has the form of a report. A signature says only who wrote it: reports of other servers come with a
 * shared repository, and what lists, pages and the catalogue do with them relies on this form.
 */
import type { Fault, RunReport, TestReport, VmResult } from "../model.js";

type Check = (value: unknown) => boolean;

const text: Check = (value) => typeof value === "string";
const number: Check = (value) => typeof value === "number";
const id: Check = (value) => typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
const time: Check = (value) => typeof value === "string" && !Number.isNaN(Date.parse(value));
const orNull =
	(check: Check): Check =>
	(value) =>
		value === null || check(value);
const list =
	(check: Check): Check =>
	(value) =>
		Array.isArray(value) && value.every(check);
const words =
	<T extends string>(...allowed: T[]): Check =>
	(value) =>
		allowed.some((word) => word === value);
const members: Check = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const record =
	(checks: Record<string, Check>): Check =>
	(value) =>
		members(value) && Object.entries(checks).every(([name, check]) => check((value as Record<string, unknown>)[name]));

const RESULTS: VmResult[] = ["passed", "failed", "warning", "skipped", "cancelled"];
const TEST_RESULTS: TestReport["result"][] = ["passed", "failed", "warning", "skipped"];
const FAULTS: Fault[] = ["damaged-data", "no-boot", "file-system", "hang", "service", "infrastructure"];

const vm = record({
	vm: text,
	group: text,
	role: orNull(text),
	point: record({ id: text, time: text }),
	disks: list(record({ name: text, size: number, identityBefore: text, identityAfter: orNull(text) })),
	result: words(...RESULTS),
	fault: orNull(words(...FAULTS)),
	summary: text,
	started: time,
	ended: time,
	timeline: list(record({ what: text, atMs: number, tookMs: orNull(number), detail: orNull(text) })),
	timeToServiceMs: orNull(number),
	readToBoot: orNull(number),
	readInAll: orNull(number),
	tests: list(
		record({
			kind: text,
			name: text,
			result: words(...TEST_RESULTS),
			message: text,
			output: text,
			attempts: number,
			startedMs: number,
			tookMs: number,
			value: orNull(record({ name: text, unit: text, amount: number })),
		}),
	),
	screenshots: list(record({ when: words("stable", "failure", "end"), png: text })),
	console: text,
	addresses: list(text),
	generationId: orNull(text),
});

const report = record({
	version: (value) => value === 1,
	id,
	plan: text,
	repository: record({ id: text, path: text }),
	host: record({
		name: text,
		type: text,
		versions: (value) => members(value) && Object.values(value as object).every(text),
	}),
	springback: text,
	by: record({ user: text, machine: text, command: text }),
	started: time,
	ended: time,
	result: words("passed", "failed", "warning", "cancelled"),
	limits: record({ parallel: number, cpus: number, memoryMiB: number, timeoutMs: number }),
	labMode: text,
	vms: list(vm),
});

const chain = record({
	sequence: (value) => Number.isSafeInteger(value) && (value as number) >= 1,
	previous: orNull(record({ run: id, sha256: (value) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value) })),
});

export const isRunReport = (value: unknown): value is RunReport => report(value);
export const isChain: Check = chain;
