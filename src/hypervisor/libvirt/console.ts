/** The serial console's log, where the VM was registered with one. */
import { consoleOf } from "../../vm/index.js";
import { endOfFile } from "../end-of-file.js";
import { type Domain, definitionOf } from "./domain.js";

export const consoleText = async (domain: Domain): Promise<string> => {
	const log = domain.host.uri.local ? consoleOf(await definitionOf(domain, "stored")) : undefined;
	return log === undefined ? "" : endOfFile(log);
};
