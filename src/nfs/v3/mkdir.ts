/** MKDIR, RFC 1813 section 3.3.9. */
import { decodeSetAttributes } from "./attributes.js";
import { encodeMade, type MadeReply } from "./made.js";
import { make } from "./make.js";
import { ANY_LENGTH, changeOnly, define } from "./procedure.js";

export const mkdir = define<MadeReply>({
	name: "MKDIR",
	once: true,
	run(context, args) {
		const directory = context.changingDirectory(args);
		const name = args.string(ANY_LENGTH);
		return make(context, directory, name, { kind: "directory", attributes: decodeSetAttributes(args) });
	},
	ok: encodeMade,
	failed: changeOnly,
});
