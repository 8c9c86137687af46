/** Carries out one test: attempts, the time limit of each, abort. What guests do never makes it throw. */
import { setTimeout as sleep } from "node:timers/promises";
import type { TestReport } from "../model.js";
import { type TestContext, TestFailure, type TestKind, type TestOutcome, type TestSpec } from "./contract.js";
import { kindOf } from "./kinds.js";
import { cut, duration, OUTPUT_BYTES, oneLine, plain } from "./text.js";

/** ms that a test gets for ending what it began, once its time is over */
const GRACE_MS = 5000;

/**
 * `elapsed`: ms since the VM's verification began. Resolves with "skipped" when `context.signal` fires before a result.
 * A test that did not pass and is optional is a "warning".
 */
export const runTest = async (spec: TestSpec, context: TestContext, elapsed: () => number): Promise<TestReport> => {
	const startedMs = elapsed();
	const kind = kindOf(spec.kind);
	let attempts = 0;
	let outcome: TestOutcome | undefined;
	if (kind === undefined) outcome = { ok: false, message: `there is no test "${spec.kind}"`, fault: "infrastructure" };
	else
		while (attempts <= spec.retries && !context.signal.aborted) {
			if (attempts > 0 && !(await pause(spec.retryMs, context.signal))) break;
			attempts++;
			const last = await attempt(kind, spec, context);
			// An attempt that was interrupted says nothing; what the one before it said is not the result either.
			if (context.signal.aborted && !last.ok) break;
			outcome = last;
			if (outcome.ok) break;
		}
	const interrupted = context.signal.aborted && outcome?.ok !== true;
	const result = interrupted ? "skipped" : outcome?.ok ? "passed" : spec.optional ? "warning" : "failed";
	const said = oneLine(outcome?.message ?? "");
	const message = interrupted ? (said === "" ? "interrupted" : `interrupted; before that: ${said}`) : said;
	return {
		kind: spec.kind,
		name: spec.name,
		result,
		message: attempts > 1 && !interrupted ? `${message} (attempt ${attempts})` : message,
		output: cut(plain(cut(outcome?.output ?? "", 4 * OUTPUT_BYTES))),
		attempts,
		startedMs,
		tookMs: elapsed() - startedMs,
		value: outcome?.value ?? null,
		fault: result === "failed" || result === "warning" ? (outcome?.fault ?? kind?.fault ?? "service") : null,
	};
};

const pause = async (ms: number, signal: AbortSignal): Promise<boolean> => {
	try {
		await sleep(ms, undefined, { signal });
		return true;
	} catch {
		return false;
	}
};

/** Never rejects. The kind's signal fires at the time limit, and before this resolves. */
const attempt = async (kind: TestKind, spec: TestSpec, context: TestContext): Promise<TestOutcome> => {
	const end = new AbortController();
	const interrupt = () => end.abort();
	context.signal.addEventListener("abort", interrupt, { once: true });
	if (context.signal.aborted) end.abort();
	let late = false;
	const timer = setTimeout(() => {
		late = true;
		end.abort();
	}, spec.timeoutMs);
	const limit = `within ${duration(spec.timeoutMs)}`;
	const tooLong: TestOutcome = { ok: false, message: `did not come to an end ${limit}` };
	try {
		const running = kind.run(spec.options, within(context, end.signal, spec.timeoutMs)).catch(outcomeOf);
		const outcome = await Promise.race([running, graceAfter(end.signal).then(() => tooLong)]);
		if (!late || outcome === tooLong || outcome.ok) return outcome;
		return { ...outcome, message: outcome.message === "" ? tooLong.message : `${outcome.message} (${limit})` };
	} catch (error) {
		return outcomeOf(error);
	} finally {
		clearTimeout(timer);
		context.signal.removeEventListener("abort", interrupt);
		end.abort();
	}
};

/** For a kind that does not end when it is told to. */
const graceAfter = (signal: AbortSignal): Promise<void> =>
	new Promise((resolve) => {
		const wait = () => setTimeout(resolve, GRACE_MS).unref();
		if (signal.aborted) wait();
		else signal.addEventListener("abort", wait, { once: true });
	});

/** What was thrown in our name, and not seen of the guest, is of this machine. */
const outcomeOf = (error: unknown): TestOutcome => {
	if (error instanceof TestFailure) return { ok: false, message: error.message, ...error.seen };
	if (error instanceof TestInterrupted) return { ok: false, message: "" };
	const message = error instanceof Error ? error.message : String(error);
	return {
		ok: false,
		message: message.split("\n")[0],
		fault: GUEST_FAULTS.has(codeOf(error)) ? undefined : "infrastructure",
	};
};

/** Codes of HypervisorError that are the guest's doing: its agent is away or does not answer, it is not running. */
const GUEST_FAULTS = new Set(["NO_AGENT", "TIMEOUT", "STATE"]);
const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? "");

/** The attempt is over: nobody reads this. */
class TestInterrupted extends Error {}

/** The context for one attempt: what it promises rejects with the attempt's end too. */
const within = (context: TestContext, signal: AbortSignal, timeoutMs: number): TestContext => {
	const bounded =
		<A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
		(...args: A): Promise<R> =>
			untilAbort(signal, () => call(...args));
	return {
		vm: context.vm,
		point: context.point,
		guest: context.guest,
		disks: context.disks,
		directory: context.directory,
		signal,
		timeoutMs,
		reach: bounded(() => context.reach()),
		endpoint: bounded((port) => context.endpoint(port)),
		heartbeat: bounded(() => context.heartbeat()),
		run: bounded((program, args, limitMs) => context.run(program, args, limitMs)),
		console: bounded(() => context.console()),
		screenshot: bounded(() => context.screenshot()),
		diskUri: bounded((disk) => context.diskUri(disk)),
		checkBlocks: bounded((progress) => context.checkBlocks(progress, signal)),
		environment: bounded(() => context.environment()),
	};
};

const untilAbort = <R>(signal: AbortSignal, call: () => Promise<R>): Promise<R> =>
	new Promise((resolve, reject) => {
		const stop = () => reject(new TestInterrupted());
		if (signal.aborted) return stop();
		signal.addEventListener("abort", stop, { once: true });
		call()
			.then(resolve, reject)
			.finally(() => signal.removeEventListener("abort", stop));
	});
