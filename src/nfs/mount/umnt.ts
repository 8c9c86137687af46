/** UMNT, RFC 1813 section 5.2.3: never fails. */
import type { Procedure } from "../rpc/program.js";
import type { MountContext } from "./context.js";
import { PATH_MAX } from "./mnt.js";
import { normalizePath } from "./path.js";

export const umnt: Procedure<MountContext, undefined> = {
	name: "UMNT",
	run(context, args) {
		context.mounts.remove(context.peer.address, normalizePath(args.string(PATH_MAX)));
		return undefined;
	},
	encode() {},
};
