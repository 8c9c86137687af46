/** ACCESS, RFC 1813 section 3.3.4. */

import { isFailed } from "../../vfs/failed.js";
import type { Attributes } from "../../vfs/vfs.js";
import { encodePostOp } from "./attributes.js";
import { attributesOnly, define } from "./procedure.js";

/** READ, LOOKUP, MODIFY, EXTEND, DELETE, EXECUTE */
const ALL = 0x3f;
const MODIFY_EXTEND_DELETE = 0x04 | 0x08 | 0x10;

export const access = define<{ status: "OK"; attributes: Attributes; granted: number }>({
	name: "ACCESS",
	run(context, args) {
		const node = context.node(args);
		const wanted = args.u32() & ALL;
		if (isFailed(node)) return node;
		const allowed = context.mayWrite ? wanted : wanted & ~MODIFY_EXTEND_DELETE;
		const granted = node.access(context.caller(), allowed) & allowed;
		return { status: "OK", attributes: node.attributes(), granted };
	},
	ok(reply, result) {
		encodePostOp(reply, result.attributes);
		reply.u32(result.granted);
	},
	failed: attributesOnly,
});
