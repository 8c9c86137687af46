/**
 * What a run does to a VM, noted in the VM's own metadata: so it is found again wherever that run was started, and by
 * whom.
 */
import { escapeXml, parseDomain, RUN_ELEMENT, RUN_URI } from "../../vm/index.js";
import { type Domain, definitionOf } from "./domain.js";

export interface RunNote {
	/** folder of socket and scratch files */
	folder?: string;
	/** checkpoint that this run began */
	checkpoint?: string;
	/** "yes": the guest may be frozen */
	frozen?: "yes";
	/** "yes": it was off, and is only there so that its disks can be read */
	started?: "yes";
	/** target of the disk that is moved */
	move?: string;
	/** file that it is moved to */
	to?: string;
}

const KEYS = ["folder", "checkpoint", "frozen", "started", "move", "to"] as const;

export const writeNote = async (domain: Domain, note: RunNote): Promise<void> => {
	const attributes = KEYS.flatMap((key) => (note[key] === undefined ? [] : [` ${key}="${escapeXml(note[key])}"`]));
	await setMetadata(domain, RUN_URI, ["--key", "springback", "--set", `<${RUN_ELEMENT}${attributes.join("")}/>`]);
};

export const removeNote = (domain: Domain): Promise<void> => setMetadata(domain, RUN_URI, ["--remove"]);

/** One element of our own, in what is now and what the next start reads. */
export const setMetadata = async ({ host, id }: Domain, uri: string, what: string[]): Promise<void> => {
	const call = (...where: string[]) => host.virsh.call(["metadata", id, "--uri", uri, ...where, ...what]);
	const refused = async (error: Error) => {
		if (!/metadata not found|not present/i.test(error.message)) throw error;
	};
	try {
		await call("--live", "--config");
	} catch {
		// Off, or without a stored definition: each alone tells.
		const [live, config] = await Promise.allSettled([call("--live").catch(refused), call("--config").catch(refused)]);
		if (live.status === "rejected" && config.status === "rejected") throw config.reason;
	}
};

/** Undefined when no run has the VM, or had it and did not end. */
export const readNote = async (domain: Domain): Promise<RunNote | undefined> => {
	const { run } = parseDomain(await definitionOf(domain, "now")).own;
	return run === undefined
		? undefined
		: Object.fromEntries(KEYS.flatMap((key) => (run[key] === undefined ? [] : [[key, run[key]]])));
};
