/** EXPORT, RFC 1813 section 5.2.5: the exports the caller may mount, with their allow-lists as groups. */
import type { ExportEntry } from "../../vfs/vfs.js";
import type { Procedure } from "../rpc/program.js";
import type { MountContext } from "./context.js";

export const exports: Procedure<MountContext, ExportEntry[]> = {
	name: "EXPORT",
	run: (context) => context.visible(),
	encode(reply, entries) {
		for (const entry of entries) {
			reply.u32(1);
			reply.string(entry.path);
			for (const client of entry.clients) {
				reply.u32(1);
				reply.string(client);
			}
			reply.u32(0);
		}
		reply.u32(0);
	},
};
