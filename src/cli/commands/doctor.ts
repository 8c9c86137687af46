/** springback doctor */

import { DEFAULT_MOUNT_PORT, DEFAULT_NFS_PORT } from "../../mountd/config.js";
import type { Command } from "../command.js";
import type { Finding } from "../doctor/finding.js";
import { checkInstallation } from "../doctor/installation.js";
import { checkPorts } from "../doctor/ports.js";
import { checkRepository } from "../doctor/repository.js";
import { checkState } from "../doctor/state.js";
import { EXIT } from "../exit.js";
import { keySource } from "../keys.js";
import { table } from "../output.js";
import { statePath } from "../places.js";
import { address, port, positionals, text } from "../values.js";

const command: Command = {
	summary: "checks this machine, the state directory, ports and the repository",
	help: `springback doctor [--repo DIR] [--listen A] [--nfs-port N] [--mount-port N]
  Checks what publishing and recovery need, and says how to mend what is missing.
  Exit 0 all well, 4 warnings, 1 something will not work.`,
	options: { listen: { type: "string" }, "nfs-port": { type: "string" }, "mount-port": { type: "string" } },
	async run(context) {
		positionals(context, []);
		const state = statePath(context);
		const listen = address(context, "listen", "127.0.0.1");
		const findings: Finding[] = [
			...(await checkInstallation()),
			...(await checkState(state)),
			...(await checkPorts(state, listen, {
				nfs: port(context, "nfs-port", DEFAULT_NFS_PORT),
				mount: port(context, "mount-port", DEFAULT_MOUNT_PORT),
			})),
			...(await checkRepository(text(context, "repo") ?? process.env.SPRINGBACK_REPO, keySource(context, false))),
		];
		const rows = findings.map(({ check, level, message, remedy }) => [
			level,
			check,
			remedy ? `${message}: ${remedy}` : message,
		]);
		context.out.result(findings, table(["", "CHECK", "FOUND"], rows));
		if (findings.some(({ level }) => level === "fail")) return EXIT.failure;
		return findings.some(({ level }) => level === "warn") ? EXIT.warnings : EXIT.ok;
	},
};
export default command;
