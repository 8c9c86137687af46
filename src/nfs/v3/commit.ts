/** COMMIT, RFC 1813 section 3.3.21: always the whole file, which the range permits. */

import { isFailed } from "../../vfs/failed.js";
import type { Changed, FileNode } from "../../vfs/vfs.js";
import { encodeChange } from "./attributes.js";
import { changeOnly, define, then, unchanged } from "./procedure.js";

export const commit = define<Changed & { verifier: Buffer }>({
	name: "COMMIT",
	run(context, args) {
		const node = context.changing(args);
		args.u64(); // offset
		args.u32(); // count
		if (isFailed(node)) return node;
		if (node.kind !== "file") return unchanged(node, { status: "INVAL" });
		const file = node as FileNode;
		return then(file.commit(), (result) =>
			isFailed(result)
				? unchanged(file, result)
				: { ...result, verifier: context.fileSystem.writeVerifier(file.handle) },
		);
	},
	ok(reply, result) {
		encodeChange(reply, result.change);
		reply.fixed(result.verifier);
	},
	failed: changeOnly,
});
