/**
 * The clients that load an NBD server, as functions.
 */
import { run } from "../measure/process.js";
import { cProgram } from "./c-programs.js";
import type { Load, LoadResult } from "./nfs-clients.js";

/** Reads by bench/nbdload.c: as `load` does them over NFS. @param seconds when the load has no count */
export async function nbdLoad(uri: string, load: Load, seconds?: number): Promise<LoadResult> {
	const { size, depth, pattern, span, seed, count } = load;
	const options = { uri, size, depth, pattern, span, seed, count, seconds: count === undefined ? seconds : undefined };
	const given = Object.entries(options).filter(([, value]) => value !== undefined);
	const command = given.flatMap(([name, value]) => [`--${name}`, String(value)]);
	const { stdout } = await run([cProgram("nbdload", "nbd"), ...command]);
	return JSON.parse(stdout) as LoadResult;
}

/** Reads all of an export with nbdcopy and its default settings, into nothing; seconds. */
export async function nbdCopy(uri: string): Promise<number> {
	return (await run(["nbdcopy", uri, "null:"])).seconds;
}
