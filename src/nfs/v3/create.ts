/**
 * CREATE, RFC 1813 section 3.3.8: unchecked, guarded, and exclusive with a verifier that the file system keeps
 * durably, so that a retry succeeds.
 */

import { isFailed } from "../../vfs/failed.js";
import type { CreateHow } from "../../vfs/vfs.js";
import { XdrError, type XdrReader } from "../xdr/reader.js";
import { decodeSetAttributes, sizeFits } from "./attributes.js";
import { encodeMade, type MadeReply, made, madeBefore } from "./made.js";
import { ANY_LENGTH, changeOnly, define, unchanged, wrongNewName } from "./procedure.js";

const VERIFIER_BYTES = 8;

function decodeHow(args: XdrReader): CreateHow {
	const mode = args.u32();
	if (mode === 0) return { mode: "unchecked", attributes: decodeSetAttributes(args) };
	if (mode === 1) return { mode: "guarded", attributes: decodeSetAttributes(args) };
	if (mode === 2) return { mode: "exclusive", verifier: Buffer.from(args.fixed(VERIFIER_BYTES)) };
	throw new XdrError(`createmode3 ${mode}`);
}

export const create = define<MadeReply>({
	name: "CREATE",
	once: true,
	run(context, args) {
		const directory = context.changingDirectory(args);
		const name = args.string(ANY_LENGTH);
		const how = decodeHow(args);
		if (isFailed(directory)) return directory;
		const wrong = wrongNewName(name);
		if (wrong) return unchanged(directory, { status: wrong });
		if (how.mode !== "exclusive" && !sizeFits(how.attributes)) return unchanged(directory, { status: "FBIG" });
		const caller = context.caller();
		const before = context.replayed(directory, caller);
		if (before) return madeBefore(directory, before);
		return made(directory, directory.create(caller, name, how));
	},
	ok: encodeMade,
	failed: changeOnly,
});
