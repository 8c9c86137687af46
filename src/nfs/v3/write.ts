/**
 * WRITE, RFC 1813 section 3.3.7. The data is a slice of the receive buffer, which stays untouched until the file
 * system has answered. The reply's verifier is the one in force after the write.
 */

import { isFailed } from "../../vfs/failed.js";
import type { FileNode, Stability, Written } from "../../vfs/vfs.js";
import { XdrError } from "../xdr/reader.js";
import { encodeChange } from "./attributes.js";
import { MAX_TRANSFER } from "./fsinfo.js";
import { changeOnly, define, then, unchanged } from "./procedure.js";

/** stable_how */
const STABILITY: readonly Stability[] = ["unstable", "data-sync", "file-sync"];

export const write = define<Written & { verifier: Buffer }>({
	name: "WRITE",
	run(context, args) {
		const node = context.changing(args);
		const offset = args.u64();
		const count = args.u32();
		const stability = STABILITY[args.u32()];
		if (stability === undefined) throw new XdrError("stable_how");
		const data = args.opaque(MAX_TRANSFER);
		if (isFailed(node)) return node;
		if (node.kind !== "file" || count !== data.length) return unchanged(node, { status: "INVAL" });
		if (!Number.isSafeInteger(offset + count)) return unchanged(node, { status: "FBIG" });
		const file = node as FileNode;
		return then(file.write(offset, data, stability), (result) =>
			isFailed(result)
				? unchanged(file, result)
				: { ...result, verifier: context.fileSystem.writeVerifier(file.handle) },
		);
	},
	ok(reply, result) {
		encodeChange(reply, result.change);
		reply.u32(result.count);
		reply.u32(STABILITY.indexOf(result.committed));
		reply.fixed(result.verifier);
	},
	failed: changeOnly,
});
