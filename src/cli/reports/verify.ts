/** springback report verify */
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import {
	fingerprintOfFile,
	type KnownKeys,
	ownFingerprint,
	type Verdict,
	verifyFolder,
	verifyReport,
} from "../../verify/evidence/index.js";
import type { Context } from "../command.js";
import { EXIT } from "../exit.js";
import { statePath } from "../places.js";
import { texts } from "../values.js";
import { fileOf, foldersOf, knownReports, openReports } from "./find.js";

export async function verifyReports(context: Context): Promise<number> {
	const keys = keysOf(context);
	const catalog = await openReports(context);
	try {
		const known = knownReports(context, catalog);
		if (context.positionals.length > 0) {
			const verdicts = context.positionals.map((word) => verifyReport(fileOf(word, known), keys));
			return told(context, verdicts, [], []);
		}
		// A folder that is gone is looked for, too: the catalogue knows what was in it.
		const folders = new Set([...foldersOf(context), ...known.map(({ file }) => dirname(file))]);
		const found = [...folders].map((folder) =>
			verifyFolder(
				folder,
				keys,
				known.filter(({ file }) => dirname(file) === folder),
			),
		);
		return told(
			context,
			found.flatMap(({ reports }) => reports),
			found.flatMap(({ missing }) => missing),
			found.flatMap(({ withoutPage }) => withoutPage),
		);
	} finally {
		catalog.close();
	}
}

function keysOf(context: Context): KnownKeys {
	const keys = new Map<string, "own" | "given">();
	const own = ownFingerprint(statePath(context));
	if (own !== undefined) keys.set(own, "own");
	for (const word of texts(context, "key")) {
		const plain = word.replaceAll(/[\s:]/g, "").toLowerCase();
		const fingerprint = /^[0-9a-f]{64}$/.test(plain) ? plain : fingerprintOfFile(word, readFileSync(word));
		if (!keys.has(fingerprint)) keys.set(fingerprint, "given");
	}
	return keys;
}

function told(context: Context, verdicts: Verdict[], missing: string[], withoutPage: string[]): number {
	const ok = missing.length === 0 && verdicts.every((verdict) => verdict.ok);
	const document = {
		ok,
		reports: verdicts.map(({ file, form, ok, faults, key, run, chain, sha256 }) => ({
			file,
			form,
			ok,
			faults,
			key,
			sha256,
			run,
			chain,
		})),
		missing,
		withoutPage,
	};
	const lines = verdicts.flatMap(({ file, ok, faults, key }) =>
		ok
			? [
					`ok    ${file}: signed by ${key!.known === "own" ? "this server" : "a given key"} (${key!.fingerprint.slice(0, 16)}…)`,
				]
			: faults.map((fault) => `FAIL  ${file}: ${fault}`),
	);
	lines.push(...missing.map((what) => `GONE  ${what}`));
	lines.push(...withoutPage.map((run) => `note  run ${run} has no page; its JSON file has all that it would show`));
	context.out.result(document, lines.length === 0 ? "no reports" : lines.join("\n"));
	return ok ? EXIT.ok : EXIT.fault;
}
