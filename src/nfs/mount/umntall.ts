/** UMNTALL, RFC 1813 section 5.2.4. */
import type { Procedure } from "../rpc/program.js";
import type { MountContext } from "./context.js";

export const umntall: Procedure<MountContext, undefined> = {
	name: "UMNTALL",
	run(context) {
		context.mounts.removeAll(context.peer.address);
		return undefined;
	},
	encode() {},
};
