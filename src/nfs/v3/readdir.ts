/** READDIR, RFC 1813 section 3.3.16. */

import type { XdrReader } from "../xdr/reader.js";
import { type Budget, encodeListing, type Listing, list } from "./listing.js";
import { attributesOnly, define, nothing as noMore } from "./procedure.js";

const budget = (args: XdrReader): Budget => ({ reply: args.u32(), names: Infinity, extra: () => 0 });

export const readdir = define<Listing>({
	name: "READDIR",
	run: (context, args) => list(context, args, budget, false),
	ok: (reply, result) => encodeListing(reply, result, noMore),
	failed: attributesOnly,
});
