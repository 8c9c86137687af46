/** READDIRPLUS, RFC 1813 section 3.3.17: entries with attributes and handles. */
import type { DirectoryEntry } from "../../vfs/vfs.js";
import type { ReplyBody } from "../rpc/program.js";
import type { XdrReader } from "../xdr/reader.js";
import { encodePostOp } from "./attributes.js";
import { type Budget, encodeListing, type Listing, list } from "./listing.js";
import { attributesOnly, define } from "./procedure.js";

/** name_attributes with its flag, name_handle's flag and length */
const PLUS_BYTES = 4 + 84 + 4 + 4;

const plusBytes = (entry: DirectoryEntry): number =>
	entry.node === undefined ? 8 : PLUS_BYTES + ((entry.node.handle.length + 3) & ~3);

function budget(args: XdrReader): Budget {
	const names = args.u32();
	return { names, reply: args.u32(), extra: plusBytes };
}

function encodePlus(reply: ReplyBody, entry: DirectoryEntry): void {
	encodePostOp(reply, entry.node?.attributes());
	reply.bool(entry.node !== undefined);
	if (entry.node !== undefined) reply.opaque(entry.node.handle);
}

export const readdirplus = define<Listing>({
	name: "READDIRPLUS",
	run: (context, args) => list(context, args, budget, true),
	ok: (reply, result) => encodeListing(reply, result, encodePlus),
	failed: attributesOnly,
});
