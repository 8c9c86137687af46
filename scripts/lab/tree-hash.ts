/**
 * One hash over all files of a directory, their names and contents: to show that nothing in it changed. What lies in the
 * folders of `except` does not count.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

export async function treeHash(
	directory: string,
	except: readonly string[] = [],
): Promise<{ hash: string; files: number; bytes: number }> {
	const entries = await readdir(directory, { recursive: true, withFileTypes: true });
	const left = except.map((name) => join(directory, name));
	const paths = entries
		.filter((entry) => entry.isFile() && !left.includes(entry.parentPath))
		.map((entry) => join(entry.parentPath, entry.name));
	const all = createHash("sha256");
	let bytes = 0;
	for (const path of paths.sort()) {
		const one = createHash("sha256");
		const stream = createReadStream(path, { highWaterMark: 1 << 20 });
		await pipeline(stream, one);
		bytes += stream.bytesRead;
		all.update(`${path.slice(directory.length)}\0${one.digest("hex")}\n`);
	}
	return { hash: all.digest("hex"), files: paths.length, bytes };
}
