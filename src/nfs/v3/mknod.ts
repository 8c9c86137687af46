/** MKNOD, RFC 1813 section 3.3.11. */
import type { MakeWhat, Status } from "../../vfs/vfs.js";
import type { XdrReader } from "../xdr/reader.js";
import { decodeSetAttributes, FTYPE } from "./attributes.js";
import { encodeMade, type MadeReply } from "./made.js";
import { make } from "./make.js";
import { ANY_LENGTH, changeOnly, define } from "./procedure.js";

function decodeWhat(args: XdrReader): MakeWhat | Status {
	const type = args.u32();
	for (const kind of ["block", "char"] as const) {
		if (type !== FTYPE[kind]) continue;
		const attributes = decodeSetAttributes(args);
		const major = args.u32();
		return { kind, attributes, major, minor: args.u32() };
	}
	for (const kind of ["socket", "fifo"] as const) {
		if (type === FTYPE[kind]) return { kind, attributes: decodeSetAttributes(args) };
	}
	return "BADTYPE";
}

export const mknod = define<MadeReply>({
	name: "MKNOD",
	once: true,
	run(context, args) {
		const directory = context.changingDirectory(args);
		const name = args.string(ANY_LENGTH);
		return make(context, directory, name, decodeWhat(args));
	},
	ok: encodeMade,
	failed: changeOnly,
});
