/** A script or program in the guest, through its agent. */
import { type TestContext, TestFailure, type TestKind, type TestOutcome } from "./contract.js";
import { judgeProgram, shorten } from "./judge-program.js";
import { invocable, objectSchema, regex, text, texts, whole, withDefaults } from "./options.js";

const schema = objectSchema({
	shell: text("a command line for the guest's shell: /bin/sh -c, or cmd /c with windows: true"),
	program: text("or a program, found by the guest's agent"),
	args: texts("arguments of the program", []),
	windows: { type: "boolean", description: "the guest is Windows", default: false },
	code: whole("expected exit code", 0, 255, 0),
	expect: regex("regular expression for what it prints"),
});

interface Options {
	shell?: string;
	program?: string;
	args: string[];
	windows: boolean;
	code: number;
	expect?: string;
}

export const script: TestKind = {
	kind: "script",
	summary: "a command in the guest, run by its agent, ends as expected",
	schema,
	defaults: { timeoutMs: 60_000, retries: 0, retryMs: 5000 },
	options: (given) => invocable(withDefaults(schema, given)),
	title: (options) => {
		const { shell, program } = options as unknown as Options;
		return `in the guest: ${shorten(shell ?? program ?? "")}`;
	},
	ports: () => [],
	run: (options, context) => run(options as unknown as Options, context),
};

const run = async (options: Options, context: TestContext): Promise<TestOutcome> => {
	const limit = context.timeoutMs ?? script.defaults.timeoutMs;
	const [program, args] = invocation(options);
	const began = performance.now();
	const { code, stdout, stderr } = await context.run(program, args, limit).catch((error) => {
		if (context.signal.aborted) throw new TestFailure(`${shorten(program)} still runs in the guest`);
		throw error;
	});
	const output = [stdout, stderr].filter((part) => part !== "").join(stdout.endsWith("\n") ? "" : "\n");
	return judgeProgram(
		{
			...{ code, ended: `exit code ${code}`, output, complaint: stderr.trim() || stdout, began },
			// Text of a guest may be large; what a report keeps is what is judged.
			searched: output.slice(0, SEARCHED),
		},
		options,
	);
};

/** characters */
const SEARCHED = 1024 * 1024;

const invocation = ({ shell, program, args, windows }: Options): [string, string[]] => {
	if (shell === undefined) return [program as string, args];
	return windows ? ["cmd.exe", ["/d", "/s", "/c", shell]] : ["/bin/sh", ["-c", shell]];
};
