/** The state directory: there, ours, roomy, on a local file system; and what is in it. */
import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { sys } from "../../../native/index.js";
import { SessionStore } from "../../mountd/session-store.js";
import { refusedFileSystem } from "../../overlay/lock.js";
import { bytes } from "../output.js";
import type { Finding } from "./finding.js";

const LOW_SPACE_BYTES = 10 * 2 ** 30;

export async function checkState(state: string): Promise<Finding[]> {
	let existing = state;
	while (!existsSync(existing)) existing = dirname(existing);
	const findings: Finding[] = [];
	const fs = sys.statfs(existing);
	const network = refusedFileSystem(fs.type);
	findings.push(
		network
			? { check: "state", level: "fail", message: `${state} is on ${network}`, remedy: "put --state on a local disk" }
			: { check: "state", level: "ok", message: `${state}, ${bytes(fs.available)} free` },
	);
	if (fs.available < LOW_SPACE_BYTES)
		findings.push({
			check: "space",
			level: "warn",
			message: `${bytes(fs.available)} free for what recovered VMs write`,
			remedy: "free some, or move --state",
		});
	if (!existsSync(state)) return findings;
	if ((statSync(state).mode & 0o077) !== 0)
		findings.push({
			check: "state mode",
			level: "warn",
			message: `others can look into ${state}`,
			remedy: `chmod 700 ${state}`,
		});
	const { sessions, broken } = new SessionStore(state).list();
	findings.push({ check: "sessions", level: "ok", message: `${sessions.length} kept` });
	for (const { directory, error } of broken)
		findings.push({
			check: "session",
			level: "fail",
			message: `${directory}: ${error}`,
			remedy: "restore its session.json",
		});
	return findings;
}
