/**
 * Preloaded into a mount process by `faultEnvironment` (faults.ts): takes rules for the fault layer over a UNIX socket
 * while it serves, and keeps them over a restart. The product knows nothing of it.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { type FaultRule, faults } from "../../native/index.js";

const path = process.env.SPRINGBACK_LAB_FAULTS;

// Every Node process below inherits the preloading: only the one that serves is meant.
if (path !== undefined && process.argv[1]?.endsWith("/mountd/main.js")) {
	rmSync(path, { force: true });
	if (existsSync(`${path}.rules`)) faults.set(JSON.parse(readFileSync(`${path}.rules`, "utf8")) as FaultRule[]);
	const server = createServer({ allowHalfOpen: true }, (socket) => {
		let request = "";
		socket.setEncoding("utf8").on("data", (part: string) => {
			request += part;
		});
		socket.on("end", () => {
			const rules = JSON.parse(request) as FaultRule[];
			if (rules.length > 0) faults.set(rules);
			else faults.clear();
			socket.end("set");
		});
	});
	server.listen(path);
	server.unref();
}
