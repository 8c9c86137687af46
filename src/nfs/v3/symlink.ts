/** SYMLINK, RFC 1813 section 3.3.10. */
import { decodeSetAttributes } from "./attributes.js";
import { encodeMade, type MadeReply } from "./made.js";
import { make } from "./make.js";
import { ANY_LENGTH, changeOnly, define } from "./procedure.js";

/** PATH_MAX of the clients */
const TARGET_MAX = 4096;

export const symlink = define<MadeReply>({
	name: "SYMLINK",
	once: true,
	run(context, args) {
		const directory = context.changingDirectory(args);
		const name = args.string(ANY_LENGTH);
		const attributes = decodeSetAttributes(args);
		const target = Buffer.from(args.opaque(ANY_LENGTH));
		if (target.length > TARGET_MAX) return make(context, directory, name, "NAMETOOLONG");
		return make(context, directory, name, { kind: "symlink", target, attributes });
	},
	ok: encodeMade,
	failed: changeOnly,
});
