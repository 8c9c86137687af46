#!/usr/bin/env node
/** Entry: finds the command, loads only that, and turns whatever goes wrong into one line and an exit code. */
import { parseArgs } from "node:util";
import { type Command, type Context, GLOBAL_HELP, GLOBAL_OPTIONS } from "./command.js";
import { COMMANDS, type CommandName } from "./commands.js";
import { EXIT, errorLine, exitCode, UsageError } from "./exit.js";
import { Output } from "./output.js";
import { recorded } from "./recorded.js";
import "./secrets.js";

async function main(argv: string[]): Promise<number> {
	const name = argv[0];
	if (name === undefined || name === "help" || name === "--help" || name === "-h") {
		process.stdout.write(await overview());
		return name === undefined ? EXIT.usage : EXIT.ok;
	}
	if (name === "--version" || name === "version") {
		const { VERSION } = await import("../mountd/version.js");
		process.stdout.write(`springback ${VERSION}\n`);
		return EXIT.ok;
	}
	if (!Object.hasOwn(COMMANDS, name)) throw new UsageError(`unknown command "${name}"; "springback help" lists them`);
	const command = (await COMMANDS[name as CommandName]()).default;
	const context = parse(command, argv.slice(1));
	if (context.values.help) {
		process.stdout.write(`${command.help}\n\n${GLOBAL_HELP}\n`);
		return EXIT.ok;
	}
	return recorded(name, context, () => command.run(context));
}

function parse(command: Command, args: string[]): Context {
	try {
		const { values, positionals } = parseArgs({
			args: command.rewrite?.(args) ?? args,
			options: { ...GLOBAL_OPTIONS, ...command.options },
			allowPositionals: true,
		});
		const out = new Output(values.json === true, values.quiet === true);
		return { values, positionals, out, signal: interruption() };
	} catch (error) {
		if ((error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS")) throw new UsageError((error as Error).message);
		throw error;
	}
}

/** The first signal asks for a clean end; a second one ends at once. */
function interruption(): AbortSignal {
	const controller = new AbortController();
	for (const signal of ["SIGINT", "SIGTERM"] as const) {
		process.on(signal, () => {
			if (controller.signal.aborted) process.exit(EXIT.interrupted);
			controller.abort();
		});
	}
	return controller.signal;
}

async function overview(): Promise<string> {
	const lines = ["springback: boots virtual machines straight from their backups", "", "Commands:"];
	for (const [name, load] of Object.entries(COMMANDS)) {
		const { default: command } = await load();
		lines.push(`  ${name.padEnd(10)} ${command.summary}`);
	}
	lines.push("", '"springback COMMAND --help" explains one.', "", GLOBAL_HELP, "");
	return lines.join("\n");
}

// A reader that goes away (head, a closed pager) ends us quietly.
process.stdout.on("error", (error: NodeJS.ErrnoException) =>
	process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failure),
);

main(process.argv.slice(2)).then(
	(code) => {
		process.exitCode = code;
	},
	(error: unknown) => {
		const code = exitCode(error);
		process.stderr.write(`springback: ${errorLine(error)}\n`);
		// A bug, not a mistake of the user: the stack helps us and is asked for, never thrown at people.
		if (process.env.SPRINGBACK_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
		process.exit(code);
	},
);
