/** Tells a web server the result of a run. What goes wrong here never fails a run. */
import { createHmac } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { readFileWhole } from "../../../native/durable-file.js";
import type { RunReport } from "../model.js";
import { FAULT, verdict } from "./words.js";

export interface PostOptions {
	signal?: AbortSignal;
	/** file with the secret for `X-Springback-Signature`; a line feed at its end does not count */
	secretFile?: string | null;
	/** path of the report, told as it is */
	file?: string | null;
	/** ms for one attempt */
	timeoutMs?: number;
	/** ms before each further attempt: their number is that of attempts after the first */
	pauses?: readonly number[];
}

const TIMEOUT_MS = 10_000;
const PAUSES_MS = [1_000, 4_000];

/** What is sent: enough to decide whom to wake; the report has the rest. */
export const summaryOf = (report: RunReport, file: string | null = null): object => ({
	event: "verification",
	version: 1,
	run: report.id,
	plan: report.plan,
	result: report.result,
	summary: verdict(report),
	started: report.started,
	ended: report.ended,
	machine: report.by.machine,
	repository: report.repository,
	report: file,
	vms: report.vms.map(({ vm, point, result, fault, summary, timeToServiceMs, tests }) => ({
		vm,
		point,
		result,
		fault,
		faultInWords: fault === null ? null : FAULT[fault].name,
		summary,
		timeToServiceMs,
		failedTests: tests.filter((test) => test.result === "failed").map(({ name, message }) => ({ name, message })),
	})),
});

/**
 * POSTs the summary. Resolves with a warning in one line when it was not taken, else undefined; never rejects. With a secret
 * the header `X-Springback-Signature` is `sha256=` and the hex HMAC-SHA-256 of the body.
 */
export const postResult = async (
	url: string,
	report: RunReport,
	{ signal, secretFile, file, timeoutMs = TIMEOUT_MS, pauses = PAUSES_MS }: PostOptions = {},
): Promise<string | undefined> => {
	const body = JSON.stringify(summaryOf(report, file));
	const headers: Record<string, string> = { "content-type": "application/json", "user-agent": "springback" };
	if (secretFile) {
		try {
			const secret = readFileWhole(secretFile)
				.toString("utf8")
				.replace(/\r?\n$/, "");
			if (secret === "") throw new Error("it is empty");
			headers["x-springback-signature"] = `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;
		} catch (error) {
			return `webhook ${url} was not told: its secret cannot be read from ${secretFile}: ${causeOf(error)}`;
		}
	}
	let why = "";
	for (const pause of [0, ...pauses]) {
		try {
			if (pause > 0) await sleep(pause, undefined, { signal });
			const answer = await posted(url, headers, body, timeoutMs, signal);
			if (answer.ok) return undefined;
			why = `it answered ${answer.status}`;
			// Of these the same request again would get the same answer.
			if (answer.status < 500 && answer.status !== 408 && answer.status !== 429) break;
		} catch (error) {
			if (signal?.aborted) return `webhook ${url} was not told: interrupted`;
			why = causeOf(error) || why;
		}
	}
	return `webhook ${url} was not told: ${why}`;
};

const posted = async (
	url: string,
	headers: Record<string, string>,
	body: string,
	timeoutMs: number,
	signal: AbortSignal | undefined,
): Promise<{ ok: boolean; status: number }> => {
	const limit = AbortSignal.timeout(timeoutMs);
	const answer = await fetch(url, {
		method: "POST",
		headers,
		body,
		// A redirected POST becomes a GET without a body on most servers.
		redirect: "manual",
		signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
	});
	await answer.body?.cancel();
	return { ok: answer.ok, status: answer.status };
};

const causeOf = (error: unknown): string => {
	const { name, message, cause } = error as Error;
	if (name === "TimeoutError") return "it did not answer in time";
	return String((cause as Error | undefined)?.message || message).split("\n")[0];
};
