/** FSINFO, RFC 1813 section 3.3.19. ESXi follows the maxima, other clients the preferences. */

import { isFailed } from "../../vfs/failed.js";
import type { Attributes } from "../../vfs/vfs.js";
import { encodePostOp } from "./attributes.js";
import { attributesOnly, define } from "./procedure.js";

/** bytes of one READ or WRITE */
export const MAX_TRANSFER = 1024 * 1024;
const BLOCK = 4096;
const PREFERRED_DIRECTORY = 64 * 1024;
/** FSF3_LINK, FSF3_SYMLINK, FSF3_HOMOGENEOUS, FSF3_CANSETTIME */
const PROPERTIES = 0x01 | 0x02 | 0x08 | 0x10;

export const fsinfo = define<{ status: "OK"; attributes: Attributes }>({
	name: "FSINFO",
	run(context, args) {
		const node = context.node(args);
		return isFailed(node) ? node : { status: "OK", attributes: node.attributes() };
	},
	ok(reply, result) {
		encodePostOp(reply, result.attributes);
		for (const _ of ["read", "write"]) {
			reply.u32(MAX_TRANSFER); // maximum
			reply.u32(MAX_TRANSFER); // preferred
			reply.u32(BLOCK); // multiple
		}
		reply.u32(PREFERRED_DIRECTORY);
		reply.u64(Number.MAX_SAFE_INTEGER); // largest file
		reply.u32(0); // time_delta: seconds
		reply.u32(1); // nanoseconds
		reply.u32(PROPERTIES);
	},
	failed: attributesOnly,
});
