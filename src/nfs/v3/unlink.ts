/** The common course of REMOVE and RMDIR. */

import { isFailed } from "../../vfs/failed.js";
import type { Caller, Changed, DirectoryNode, Failed, Maybe } from "../../vfs/vfs.js";
import type { XdrReader } from "../xdr/reader.js";
import { encodeChange } from "./attributes.js";
import type { NfsContext } from "./context.js";
import { ANY_LENGTH, changeOnly, define, type Failure, settle, unchanged, wrongOldName } from "./procedure.js";

type Act = (directory: DirectoryNode, caller: Caller, name: string) => Maybe<Changed | Failed>;

function unlink(context: NfsContext, args: XdrReader, act: Act): Maybe<Changed | Failure> {
	const directory = context.changingDirectory(args);
	const name = args.string(ANY_LENGTH);
	if (isFailed(directory)) return directory;
	const wrong = wrongOldName(name);
	if (wrong) return unchanged(directory, { status: wrong });
	const caller = context.caller();
	if (context.replayed(directory, caller)) return { status: "OK", change: { after: directory.attributes() } };
	return settle(directory, act(directory, caller, name));
}

export const defineUnlink = (name: string, act: Act) =>
	define<Changed>({
		name,
		once: true,
		run: (context, args) => unlink(context, args, act),
		ok: (reply, result) => encodeChange(reply, result.change),
		failed: changeOnly,
	});
