/**
 * The common course of READDIR and READDIRPLUS. The cookie verifier is constant and never checked: cookies stay
 * valid for ever, and ESXi sends an old verifier again after the end.
 */

import { isFailed } from "../../vfs/failed.js";
import type { DirectoryEntry, DirectoryNode, Maybe } from "../../vfs/vfs.js";
import type { ReplyBody } from "../rpc/program.js";
import type { XdrReader } from "../xdr/reader.js";
import { encodePostOp } from "./attributes.js";
import { isDirectory, type NfsContext } from "./context.js";
import { type Failure, failWith, then } from "./procedure.js";

export const COOKIE_VERIFIER = Buffer.alloc(8);
/** Replies are no longer than this, whatever the client asks. */
const MAX_REPLY = 256 * 1024;
/** status, post_op_attr, verifier, end of list, eof */
const FRAME_BYTES = 4 + 88 + 8 + 4 + 4;
/** value_follows, fileid, name length, cookie */
const ENTRY_BYTES = 4 + 8 + 4 + 8;
/** Never asked for more at once. */
const MAX_ENTRIES = 2048;

export interface Listing {
	status: "OK";
	directory: DirectoryNode;
	/** those that fit */
	entries: DirectoryEntry[];
	end: boolean;
}

export interface Budget {
	/** bytes of the whole result */
	reply: number;
	/** bytes of names, ids and cookies alone (READDIRPLUS) */
	names: number;
	/** bytes an entry takes beyond that */
	extra(entry: DirectoryEntry): number;
}

/** The sizes on the wire of an entry, padded. */
const nameBytes = (entry: DirectoryEntry): number => ENTRY_BYTES + ((entry.name.length + 3) & ~3);

export function list(
	context: NfsContext,
	args: XdrReader,
	budgetOf: (args: XdrReader) => Budget,
	withNodes: boolean,
): Maybe<Listing | Failure> {
	const directory = context.node(args);
	const cookie = args.u64Big();
	args.skip(COOKIE_VERIFIER.length);
	const budget = budgetOf(args);
	if (isFailed(directory)) return directory;
	if (!isDirectory(directory)) return failWith(directory, { status: "NOTDIR" });
	const room = Math.min(budget.reply, MAX_REPLY) - FRAME_BYTES;
	const limit = Math.min(MAX_ENTRIES, Math.max(1, Math.ceil(Math.min(room, budget.names) / (ENTRY_BYTES + 4))));
	return then(directory.entries(cookie, limit, withNodes), (found) => {
		if (isFailed(found)) return failWith(directory, found);
		let reply = room;
		let names = budget.names;
		let fitting = 0;
		for (const entry of found.entries) {
			const bytes = nameBytes(entry);
			reply -= bytes + budget.extra(entry);
			if (reply < 0 || (names <= 0 && fitting > 0)) break;
			names -= bytes;
			fitting++;
		}
		if (fitting === 0 && found.entries.length > 0) return failWith(directory, { status: "TOOSMALL" });
		const all = fitting === found.entries.length;
		return {
			status: "OK",
			directory,
			entries: all ? found.entries : found.entries.slice(0, fitting),
			end: all && found.end,
		};
	});
}

export function encodeListing(
	reply: ReplyBody,
	listing: Listing,
	more: (reply: ReplyBody, entry: DirectoryEntry) => void,
): void {
	encodePostOp(reply, listing.directory.attributes());
	reply.fixed(COOKIE_VERIFIER);
	for (const entry of listing.entries) {
		reply.u32(1);
		reply.u64Big(entry.fileid);
		reply.string(entry.name);
		reply.u64Big(entry.cookie);
		more(reply, entry);
	}
	reply.u32(0);
	reply.bool(listing.end);
}
