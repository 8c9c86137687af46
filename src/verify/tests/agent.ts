/** The guest agent answers. */
import { setTimeout as sleep } from "node:timers/promises";
import { TestFailure, type TestKind } from "./contract.js";
import { objectSchema, withDefaults } from "./options.js";

const schema = objectSchema({});
const AGAIN_MS = 500;

export const agent: TestKind = {
	kind: "agent",
	summary: "the guest agent answers",
	schema,
	defaults: { timeoutMs: 120_000, retries: 0, retryMs: 5000 },
	options: (given) => withDefaults(schema, given),
	title: () => "guest agent",
	ports: () => [],
	async run(_options, context) {
		const began = performance.now();
		for (;;) {
			if (await context.heartbeat().catch(ended(context.signal)))
				return {
					ok: true,
					message: "the guest agent answers",
					value: { name: "answer", unit: "ms", amount: Math.round(performance.now() - began) },
				};
			await sleep(AGAIN_MS, undefined, { signal: context.signal }).catch(ended(context.signal));
		}
	},
};

/** With the attempt over, what was waited for is the message. */
const ended =
	(signal: AbortSignal) =>
	(error: unknown): never => {
		throw signal.aborted ? new TestFailure("the guest agent does not answer") : error;
	};
