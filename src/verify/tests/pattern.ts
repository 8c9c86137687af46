/** Regular expressions of plans on text of guests: a search that takes too long is ended, and is a failure. */
import { createContext, Script } from "node:vm";
import { TestFailure } from "./contract.js";

/** ms */
const SEARCH_MS = 1000;

/** Throws Error with one line when it is not one. Case counts; `^` and `$` are of lines. */
export const matcher = (source: string): RegExp => {
	try {
		return new RegExp(source, "mu");
	} catch {
		throw new Error(`"${source}" is not a regular expression`);
	}
};

/** Rejects by TestFailure when it was not found out in a second: some expressions take exponential time on some text. */
export const search = (source: string, text: string): boolean => {
	const context = createContext({ pattern: matcher(source), text, found: false });
	try {
		new Script("found = pattern.test(text)").runInContext(context, { timeout: SEARCH_MS });
	} catch {
		throw new TestFailure(`the regular expression /${source}/ takes more than ${SEARCH_MS / 1000} s on this answer`);
	}
	return context.found === true;
};
