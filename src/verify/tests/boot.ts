/** The guest has booted as far as its console or picture tells: it came to rest, and shows no failure that is known. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { consoleFault } from "./console-faults.js";
import { type TestContext, TestFailure, type TestKind, type TestOutcome } from "./contract.js";
import { objectSchema, regex, whole, withDefaults } from "./options.js";
import { search } from "./pattern.js";
import { plain, quoted } from "./text.js";

const LOOK_MS = 500;
/** What is searched of a console: its end. Characters. */
const SEARCHED = 256 * 1024;

const schema = objectSchema({
	quietMs: whole("ms without new console output (or, without any, without a new picture)", 0, 600_000, 5000),
	expect: regex("regular expression that the console has to show; then it need not become quiet"),
});

export const boot: TestKind = {
	kind: "boot",
	summary:
		"the console (or the picture) comes to rest and shows no failure: no boot device, GRUB prompt, panic, fsck, …",
	schema,
	defaults: { timeoutMs: 120_000, retries: 0, retryMs: 5000 },
	options: (given) => withDefaults(schema, given),
	title: () => "boot",
	ports: () => [],
	fault: "hang",
	run: ({ quietMs, expect }, context) => run(quietMs as number, expect as string | undefined, context),
};

const run = async (quietMs: number, expect: string | undefined, context: TestContext): Promise<TestOutcome> => {
	const rest = new Rest(quietMs);
	const pictures = new Set<string>();
	let said = "";
	let picture = false;
	try {
		for (;;) {
			const now = plain((await context.console()).slice(-SEARCHED));
			const fault = now === said ? undefined : consoleFault(now);
			if (fault !== undefined)
				return { ok: false, message: `${fault.what}: ${quoted(fault.line)}`, output: now, fault: fault.fault };
			if (now !== said) rest.disturb();
			said = now;
			if (expect !== undefined && search(expect, said))
				return { ok: true, message: `the console shows /${expect}/`, output: said };
			if (said.trim() === "") {
				picture = true;
				// A cursor that blinks gives pictures that were there before: they do not count as new.
				const shown = createHash("sha256")
					.update(await context.screenshot())
					.digest("hex");
				if (!pictures.has(shown)) rest.disturb();
				pictures.add(shown);
			} else picture = false;
			if (expect === undefined && rest.reached())
				return {
					ok: true,
					message: picture
						? "the picture does not change any more"
						: `the console is quiet after ${quoted(lastLine(said))}`,
					output: said,
				};
			await sleep(LOOK_MS, undefined, { signal: context.signal });
		}
	} catch (error) {
		if (!context.signal.aborted) throw error;
		const at = said.trim() === "" ? "the console says nothing" : `the console is at ${quoted(lastLine(said))}`;
		if (expect !== undefined) throw new TestFailure(`${at}, it does not show /${expect}/`, { output: said });
		throw new TestFailure(picture ? "the picture does not come to rest" : `${at} and does not come to rest`, {
			output: said,
		});
	}
};

class Rest {
	#since = performance.now();
	constructor(private readonly quietMs: number) {}
	disturb(): void {
		this.#since = performance.now();
	}
	reached(): boolean {
		return performance.now() - this.#since >= this.quietMs;
	}
}

const lastLine = (text: string): string => text.trim().split("\n").at(-1) ?? "";
