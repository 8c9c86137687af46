/** LINK, RFC 1813 section 3.3.15. */

import { isFailed } from "../../vfs/failed.js";
import type { Attributes, Change } from "../../vfs/vfs.js";
import { encodeChange, encodePostOp } from "./attributes.js";
import { ANY_LENGTH, define, then, wrongNewName } from "./procedure.js";

export const link = define<{ status: "OK"; after: Attributes; change: Change }>({
	name: "LINK",
	once: true,
	run(context, args) {
		const target = context.changing(args);
		const directory = context.changingDirectory(args);
		const name = args.string(ANY_LENGTH);
		if (isFailed(target)) return target;
		if (isFailed(directory)) return { ...directory, attributes: target.attributes() };
		const now = () => ({ attributes: target.attributes(), change: { after: directory.attributes() } });
		const wrong = wrongNewName(name);
		if (wrong) return { status: wrong, ...now() };
		const caller = context.caller();
		if (context.replayed(directory, caller)) {
			return { status: "OK", after: target.attributes(), change: { after: directory.attributes() } };
		}
		return then(directory.link(caller, target, name), (result) => {
			if (!isFailed(result)) return result;
			const { attributes, change } = now();
			return { status: result.status, attributes: result.after ?? attributes, change: result.change ?? change };
		});
	},
	ok(reply, result) {
		encodePostOp(reply, result.after);
		encodeChange(reply, result.change);
	},
	failed(reply, failure) {
		encodePostOp(reply, failure.attributes);
		encodeChange(reply, failure.change);
	},
});
