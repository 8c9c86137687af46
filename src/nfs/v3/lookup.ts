/** LOOKUP, RFC 1813 section 3.3.3. */

import { isFailed } from "../../vfs/failed.js";
import type { Node } from "../../vfs/vfs.js";
import { encodePostOp } from "./attributes.js";
import { isDirectory } from "./context.js";
import { ANY_LENGTH, attributesOnly, define, failWith, then, wrongName } from "./procedure.js";

export const lookup = define<{ status: "OK"; node: Node; directory: Node }>({
	name: "LOOKUP",
	run(context, args) {
		const directory = context.node(args);
		const name = args.string(ANY_LENGTH);
		if (isFailed(directory)) return directory;
		if (!isDirectory(directory)) return failWith(directory, { status: "NOTDIR" });
		const wrong = wrongName(name);
		if (wrong) return failWith(directory, { status: wrong });
		return then(directory.lookup(name), (node) =>
			isFailed(node) ? failWith(directory, node) : { status: "OK", node, directory },
		);
	},
	ok(reply, { node, directory }) {
		reply.opaque(node.handle);
		encodePostOp(reply, node.attributes());
		encodePostOp(reply, directory.attributes());
	},
	failed: attributesOnly,
});
