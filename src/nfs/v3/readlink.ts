/** READLINK, RFC 1813 section 3.3.5. */

import { isFailed } from "../../vfs/failed.js";
import type { Attributes, SymlinkNode } from "../../vfs/vfs.js";
import { encodePostOp } from "./attributes.js";
import { attributesOnly, define, failWith } from "./procedure.js";

export const readlink = define<{ status: "OK"; attributes: Attributes; target: Buffer }>({
	name: "READLINK",
	run(context, args) {
		const node = context.node(args);
		if (isFailed(node)) return node;
		if (node.kind !== "symlink") return failWith(node, { status: "INVAL" });
		return { status: "OK", attributes: node.attributes(), target: (node as SymlinkNode).target() };
	},
	ok(reply, result) {
		encodePostOp(reply, result.attributes);
		reply.opaque(result.target);
	},
	failed: attributesOnly,
});
