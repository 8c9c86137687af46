/** PATHCONF, RFC 1813 section 3.3.20. */

import { isFailed } from "../../vfs/failed.js";
import { type Attributes, NAME_MAX } from "../../vfs/vfs.js";
import { encodePostOp } from "./attributes.js";
import { attributesOnly, define } from "./procedure.js";

const LINK_MAX = 32000;

export const pathconf = define<{ status: "OK"; attributes: Attributes }>({
	name: "PATHCONF",
	run(context, args) {
		const node = context.node(args);
		return isFailed(node) ? node : { status: "OK", attributes: node.attributes() };
	},
	ok(reply, result) {
		encodePostOp(reply, result.attributes);
		reply.u32(LINK_MAX);
		reply.u32(NAME_MAX);
		reply.bool(true); // no_trunc: too long a name is an error
		reply.bool(true); // chown_restricted
		reply.bool(false); // case_insensitive
		reply.bool(true); // case_preserving
	},
	failed: attributesOnly,
});
