/** A VM that we made is the host's own from now on; the names of its disks stay, so that increments go on. */
import { releasedElement, SESSION_URI } from "../../vm/index.js";
import { type Domain, definitionOf, described, stateOf } from "./domain.js";
import { setMetadata } from "./notes.js";

export const release = async (domain: Domain): Promise<void> => {
	const { session, disks } = described(domain, await definitionOf(domain, "stored"));
	const running = (await stateOf(domain)) !== "off";
	const now = running ? described(domain, await definitionOf(domain, "now")).session : null;
	if (session === null && now === null) return;
	const names = new Map(disks.map(({ target, name }) => [target, name]));
	await setMetadata(domain, SESSION_URI, ["--key", "springback", "--set", releasedElement(names)]);
};
