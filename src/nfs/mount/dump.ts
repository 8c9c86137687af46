/** DUMP, RFC 1813 section 5.2.2: who has mounted what, of the exports the caller may mount itself. */
import type { Procedure } from "../rpc/program.js";
import type { MountContext, Mounted } from "./context.js";

export const dump: Procedure<MountContext, Mounted[]> = {
	name: "DUMP",
	run: (context) => context.mounts.all().filter((mount) => context.admits(mount.entry)),
	encode(reply, mounts) {
		for (const mount of mounts) {
			reply.u32(1);
			reply.string(mount.address);
			reply.string(mount.path);
		}
		reply.u32(0);
	},
};
