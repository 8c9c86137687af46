/** SETATTR, RFC 1813 section 3.3.2. */

import { isFailed } from "../../vfs/failed.js";
import type { Changed } from "../../vfs/vfs.js";
import { decodeGuard, decodeSetAttributes, encodeChange, sizeFits } from "./attributes.js";
import { changeOnly, define, settle, unchanged } from "./procedure.js";

export const setattr = define<Changed>({
	name: "SETATTR",
	once: true,
	run(context, args) {
		const node = context.changing(args);
		const set = decodeSetAttributes(args);
		const guard = decodeGuard(args);
		if (isFailed(node)) return node;
		if (!sizeFits(set)) return unchanged(node, { status: "FBIG" });
		if (set.size !== undefined && node.kind !== "file") {
			return unchanged(node, { status: node.kind === "directory" ? "ISDIR" : "INVAL" });
		}
		const caller = context.caller();
		if (context.replayed(node, caller)) return { status: "OK", change: { after: node.attributes() } };
		return settle(node, node.setAttributes(caller, set, guard));
	},
	ok: (reply, result) => encodeChange(reply, result.change),
	failed: changeOnly,
});
