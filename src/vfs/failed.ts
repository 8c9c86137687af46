/** Tells a failure from a node or a result. */
import type { Failed } from "./vfs.js";

/** Nodes have no `status`; results that succeeded have "OK". */
export function isFailed<T extends object>(value: T | Failed): value is Failed {
	const status: string | undefined = (value as Failed).status;
	return status !== undefined && status !== "OK";
}
