/**
 * The clients that load an NFS server, as functions.
 */
import { run } from "../measure/process.js";
import { cProgram } from "./c-programs.js";

/** A file on a server. */
export interface Target {
	/** what MOUNT is asked for */
	folder: string;
	/** name in it */
	file: string;
	nfsPort: number;
	mountPort: number;
}

export interface Load {
	op: "read" | "write" | "getattr" | "churn";
	/** bytes of one request */
	size: number;
	/** requests in flight */
	depth: number;
	pattern: "random" | "seq";
	stable?: "unstable" | "file";
	/** the part of the file that is touched, from its start, in bytes; default all of it */
	span?: number;
	/** stops after this many requests instead of after a time */
	count?: number;
	/** of the random offsets; the same ones are read when it is left out */
	seed?: number;
}

export interface LoadResult {
	opsPerSec: number;
	bytes: number;
	seconds: number;
	/** microseconds */
	p50us: number;
	p99us: number;
}

/** Puts a load on the file, by bench/nfsload.c. */
export async function load(
	target: Target,
	{ op, size, depth, pattern, stable, span, count, seed }: Load,
	seconds: number,
) {
	const options: Record<string, string | number | undefined> = {
		...{ host: "127.0.0.1", export: target.folder, file: target.file },
		...{ nfsport: target.nfsPort, mountport: target.mountPort },
		...{ op, size, depth, pattern, stable, span, count, seed },
		seconds: count === undefined ? seconds : undefined,
	};
	const given = Object.entries(options).filter(([, value]) => value !== undefined);
	const { stdout } = await run([
		cProgram("nfsload"),
		...given.flatMap(([name, value]) => [`--${name}`, String(value)]),
	]);
	return JSON.parse(stdout) as LoadResult;
}

/** libnfs' URL of the file. */
export const targetUrl = ({ folder, file, nfsPort, mountPort }: Target): string =>
	`nfs://127.0.0.1${folder}/${file}?nfsport=${nfsPort}&mountport=${mountPort}`;

/** Seconds that a COMMIT of the whole file takes. */
export async function commit(target: Target): Promise<number> {
	const { stdout } = await run([cProgram("commit"), targetUrl(target)]);
	return Number(stdout);
}
