/** FSSTAT, RFC 1813 section 3.3.18: as the file system tells it; a hypervisor places swap files by it. */

import { isFailed } from "../../vfs/failed.js";
import type { Attributes, FileSystemStatus } from "../../vfs/vfs.js";
import { encodePostOp } from "./attributes.js";
import { attributesOnly, define } from "./procedure.js";

export const fsstat = define<{ status: "OK"; attributes: Attributes; space: FileSystemStatus }>({
	name: "FSSTAT",
	run(context, args) {
		const node = context.node(args);
		if (isFailed(node)) return node;
		return { status: "OK", attributes: node.attributes(), space: context.fileSystem.status(node) };
	},
	ok(reply, { attributes, space }) {
		encodePostOp(reply, attributes);
		reply.u64(space.totalBytes);
		reply.u64(space.freeBytes);
		reply.u64(space.availableBytes);
		reply.u64(space.totalFiles);
		reply.u64(space.freeFiles);
		reply.u64(space.freeFiles);
		reply.u32(0); // invarsec: may change any time
	},
	failed: attributesOnly,
});
