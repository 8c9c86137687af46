/** What a guest's serial console says about its boot. It comes from the guest: only what is looked for counts. */
import type { Fault } from "./model.js";
import { consoleFault } from "./tests/console-faults.js";
import { plain } from "./tests/text.js";

export interface Trouble {
	fault: Fault;
	/** one line */
	message: string;
}

/** The trouble that the console tells of, with the line that says so; undefined: none that is known. */
export const troubleIn = (console: string): Trouble | undefined => {
	const found = consoleFault(console);
	return found && { fault: found.fault, message: `${found.what}: "${found.line}"` };
};

/** A kernel, or what comes after it, has spoken. */
export const kernelSpoke = (console: string): boolean =>
	/Linux version|Booting Linux|Decompressing Linux|\[ {4}0\.0|Welcome to|systemd\[1\]|login:/.test(console);

/** Somebody could log in. */
export const asksForLogin = (console: string): boolean => /(^|\s)login: *$/m.test(plain(console.slice(-4096)));
