/** RENAME, RFC 1813 section 3.3.14. */

import { isFailed } from "../../vfs/failed.js";
import type { Change } from "../../vfs/vfs.js";
import { encodeChange } from "./attributes.js";
import { ANY_LENGTH, define, type Failure, then, wrongOldName } from "./procedure.js";

type Renamed = { status: "OK"; from: Change; to: Change };
type NotRenamed = Failure & { from?: Change; to?: Change };

export const rename = define<Renamed>({
	name: "RENAME",
	once: true,
	run(context, args) {
		const from = context.changingDirectory(args);
		const name = args.string(ANY_LENGTH);
		const to = context.changingDirectory(args);
		const toName = args.string(ANY_LENGTH);
		if (isFailed(from)) return from;
		if (isFailed(to)) return to;
		const now = (): { from: Change; to: Change } => ({
			from: { after: from.attributes() },
			to: { after: to.attributes() },
		});
		const wrong = wrongOldName(name) ?? wrongOldName(toName);
		if (wrong) return { status: wrong, ...now() };
		const caller = context.caller();
		if (context.replayed(from, caller)) return { status: "OK", ...now() };
		return then(from.rename(caller, name, to, toName), (result) =>
			isFailed(result) ? { ...now(), ...result } : result,
		);
	},
	ok(reply, result) {
		encodeChange(reply, result.from);
		encodeChange(reply, result.to);
	},
	failed(reply, failure: NotRenamed) {
		encodeChange(reply, failure.from);
		encodeChange(reply, failure.to);
	},
});
