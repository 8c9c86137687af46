/** The common course of MKDIR, SYMLINK and MKNOD. */

import { isFailed } from "../../vfs/failed.js";
import type { DirectoryNode, Failed, MakeWhat, Maybe, Status } from "../../vfs/vfs.js";
import { sizeFits } from "./attributes.js";
import type { NfsContext } from "./context.js";
import { type MadeReply, made, madeBefore } from "./made.js";
import { type Failure, unchanged, wrongNewName } from "./procedure.js";

export function make(
	context: NfsContext,
	directory: DirectoryNode | Failed,
	name: string,
	what: MakeWhat | Status,
): Maybe<MadeReply | Failure> {
	if (isFailed(directory)) return directory;
	const wrong = wrongNewName(name);
	if (wrong) return unchanged(directory, { status: wrong });
	if (typeof what === "string") return unchanged(directory, { status: what });
	// A size means nothing here, but what cannot be a size is refused as anywhere else.
	if (!sizeFits(what.attributes)) return unchanged(directory, { status: "FBIG" });
	const caller = context.caller();
	const before = context.replayed(directory, caller);
	if (before) return madeBefore(directory, before);
	return made(directory, directory.make(caller, name, what));
}
