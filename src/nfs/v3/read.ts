/**
 * READ, RFC 1813 section 3.3.6. `eof` is true whenever the read reaches the end of the file, short or not: ESXi
 * fails to create VMs otherwise.
 */

import { isFailed } from "../../vfs/failed.js";
import type { Failed, FileNode, ReadData } from "../../vfs/vfs.js";
import { encodePostOp } from "./attributes.js";
import { MAX_TRANSFER } from "./fsinfo.js";
import { attributesOnly, define, type Failure, failWith } from "./procedure.js";

export const read = define<ReadData>({
	name: "READ",
	run(context, args) {
		const node = context.node(args);
		const offset = args.u64();
		const count = args.u32();
		if (isFailed(node)) return node;
		if (node.kind !== "file") return failWith(node, { status: "INVAL" });
		// No file reaches there.
		if (!Number.isSafeInteger(offset)) return { status: "OK", data: [], count: 0, eof: true, after: node.attributes() };
		const file = node as FileNode;
		const length = Math.min(count, MAX_TRANSFER);
		context.expect(length);
		const result = file.read(offset, length);
		if (result instanceof Promise) return result.then((settled) => finish(file, offset, settled));
		return finish(file, offset, result);
	},
	ok(reply, result) {
		encodePostOp(reply, result.after);
		reply.u32(result.count);
		reply.bool(result.eof);
		reply.gather(result.data, result.count, result);
	},
	failed: attributesOnly,
});

function finish(file: FileNode, offset: number, result: ReadData | Failed): ReadData | Failure {
	if (isFailed(result)) return failWith(file, result);
	if (!result.eof && result.after !== undefined && offset + result.count >= result.after.size) result.eof = true;
	return result;
}
