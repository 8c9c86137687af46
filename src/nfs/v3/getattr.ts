/** GETATTR, RFC 1813 section 3.3.1. */

import { isFailed } from "../../vfs/failed.js";
import type { Attributes } from "../../vfs/vfs.js";
import { encodeAttributes } from "./attributes.js";
import { define, nothing } from "./procedure.js";

export const getattr = define<{ status: "OK"; attributes: Attributes }>({
	name: "GETATTR",
	run(context, args) {
		const node = context.node(args);
		return isFailed(node) ? node : { status: "OK", attributes: node.attributes() };
	},
	ok: (reply, result) => encodeAttributes(reply, result.attributes),
	failed: nothing,
});
