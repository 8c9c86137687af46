/** A program of the user on this machine, told of the VM by its environment. */
import type { TestContext, TestKind, TestOutcome } from "./contract.js";
import { judgeProgram, shorten } from "./judge-program.js";
import { invocable, objectSchema, regex, text, texts, whole, withDefaults } from "./options.js";
import { ending, runProgram } from "./program.js";

const schema = objectSchema({
	shell: text("a command line for /bin/sh on this machine"),
	program: text("or a program on this machine"),
	args: texts("arguments of the program", []),
	ports: {
		type: "array",
		items: { type: "integer", minimum: 1, maximum: 65535 },
		maxItems: 20,
		description: "TCP ports of the guest that it asks for: told as SPRINGBACK_PORT_22=host:port",
		default: [],
	},
	code: whole("expected exit code", 0, 255, 0),
	expect: regex("regular expression for what it prints"),
});

interface Options {
	shell?: string;
	program?: string;
	args: string[];
	ports: number[];
	code: number;
	expect?: string;
}

export const command: TestKind = {
	kind: "command",
	summary: "a program on this machine, told of the VM by SPRINGBACK_… in its environment, ends as expected",
	schema,
	defaults: { timeoutMs: 60_000, retries: 0, retryMs: 5000 },
	options: (given) => invocable(withDefaults(schema, given)),
	title: (options) => {
		const { shell, program } = options as unknown as Options;
		return `command: ${shorten(shell ?? program ?? "")}`;
	},
	ports: ({ ports }) => (ports as number[]).map((port) => ({ protocol: "tcp", port })),
	run: (options, context) => run(options as unknown as Options, context),
};

const run = async (options: Options, context: TestContext): Promise<TestOutcome> => {
	const { shell, args } = options;
	const program = shell === undefined ? (options.program as string) : "/bin/sh";
	const began = performance.now();
	const result = await runProgram({
		program,
		args: shell === undefined ? args : ["-c", shell],
		env: await environment(options, context),
		cwd: context.directory,
		signal: context.signal,
	}).catch((error: NodeJS.ErrnoException) => error);
	if (result instanceof Error)
		return {
			ok: false,
			message: `${program} ${STARTING[result.code ?? ""] ?? result.message}`,
			fault: "infrastructure",
		};
	const { code, output } = result;
	if (result.interrupted) return { ok: false, message: "still ran and was ended", output };
	return judgeProgram({ code, ended: ending(result), output, complaint: output, searched: output, began }, options);
};

const STARTING: Readonly<Record<string, string>> = {
	ENOENT: "is not there, or the program that its first line names is missing",
	EACCES: "may not be run: chmod +x",
};

/** Ours without our own settings, such as keys of repositories; and what the context tells. */
const environment = async ({ ports }: Options, context: TestContext): Promise<Record<string, string>> => {
	const env: Record<string, string> = {};
	for (const [name, value] of Object.entries(process.env))
		if (value !== undefined && !name.startsWith("SPRINGBACK_")) env[name] = value;
	Object.assign(env, await context.environment());
	for (const port of ports) {
		const { host, port: there } = await context.endpoint({ protocol: "tcp", port });
		env[`SPRINGBACK_PORT_${port}`] = `${host.includes(":") ? `[${host}]` : host}:${there}`;
	}
	return env;
};
