/** What a subcommand is. */
import type { ParseArgsConfig } from "node:util";
import type { Output } from "./output.js";

export interface Context {
	values: Record<string, string | boolean | (string | boolean)[] | undefined>;
	positionals: string[];
	out: Output;
	/** aborted by the first SIGINT or SIGTERM; the work in hand is then undone or parked cleanly */
	signal: AbortSignal;
}

export interface Command {
	/** one line for the list of commands */
	summary: string;
	/** whole help text, usage line first */
	help: string;
	options: NonNullable<ParseArgsConfig["options"]>;
	/** Puts arguments into a form that the parser knows: it has no options whose value may be left out. */
	rewrite?(args: string[]): string[];
	/** Resolves with the exit code. */
	run(context: Context): Promise<number>;
}

/** Options that every command takes. */
export const GLOBAL_OPTIONS: NonNullable<ParseArgsConfig["options"]> = {
	repo: { type: "string" },
	state: { type: "string" },
	"key-file": { type: "string" },
	json: { type: "boolean" },
	quiet: { type: "boolean", short: "q" },
	help: { type: "boolean", short: "h" },
};

export const GLOBAL_HELP = `Everywhere:
  --repo DIR     repository (or SPRINGBACK_REPO)
  --state DIR    sessions and control socket (or SPRINGBACK_STATE)
  --key-file F   file with the passphrase or recovery key of an encrypted repository (or SPRINGBACK_PASSPHRASE,
                 SPRINGBACK_PASSPHRASE_FILE, or a prompt on a terminal)
  --json         one JSON document, or JSON lines, on stdout
  -q, --quiet    no progress
Exit: 0 success, 1 failure, 2 usage, 3 a check found a fault, 4 done with warnings, 130 interrupted`;
