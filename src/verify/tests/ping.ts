/** The guest answers ICMP echo requests. The system's ping(8) sends them: raw sockets take a privilege that it has. */
import { TestFailure, type TestKind } from "./contract.js";
import { objectSchema, whole, withDefaults } from "./options.js";
import { findProgram, runProgram } from "./program.js";

const schema = objectSchema({
	count: whole("echo requests, a second between two; one answer is enough", 1, 100, 3),
});

export const ping: TestKind = {
	kind: "ping",
	summary: "the guest answers ping",
	schema,
	defaults: { timeoutMs: 15_000, retries: 5, retryMs: 5000 },
	options: (given) => withDefaults(schema, given),
	title: () => "ping",
	ports: () => [],
	async run(options, context) {
		const address = await context.reach();
		const program = findProgram(["ping", "busybox"]);
		if (program === undefined)
			return {
				ok: false,
				message: "ping is not installed on this machine (package iputils-ping)",
				fault: "infrastructure",
			};
		const count = options.count as number;
		const args = [...(program.endsWith("busybox") ? ["ping"] : ["-n"]), "-c", `${count}`, address];
		const env = { PATH: process.env.PATH ?? "", LC_ALL: "C" };
		const { code, output } = await runProgram({ program, args, env, cwd: "/", signal: context.signal });
		// "time=0.042 ms", "time=0.042 ms DUP!"
		const times = [...output.matchAll(/ time=([0-9.]+) ms/g)].map((match) => Number(match[1]));
		if (times.length > 0)
			return {
				ok: true,
				message: `the guest answers ping, ${Math.min(...times)} ms`,
				output,
				value: { name: "answer", unit: "ms", amount: Math.min(...times) },
			};
		if (/not permitted|permission denied/i.test(output))
			return {
				ok: false,
				message: "this user may not send pings (ping without privilege)",
				output,
				fault: "infrastructure",
			};
		// ping(8): 1 when nothing came back, 2 for all other errors. Ended by us: nothing came back either.
		throw new TestFailure(
			code === null || code === 1
				? "the guest does not answer ping"
				: `ping fails: ${output.trim().split("\n").at(-1)}`,
			{ output },
		);
	},
};
