/** Everything that a session's reader can see, as plain JSON: to compare with what an older version recorded. */
import { createHash } from "node:crypto";
import type { SessionTree } from "../../src/overlay/index.js";
import { readAll } from "./lab.js";

const sha256 = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
/** a listing with more entries than any test's directory has */
const ALL = 100_000;

export interface Described {
	inodes: Record<string, unknown>[];
	/** replies kept for requests, in hex */
	requests: Record<string, string>;
}

export const describe = async (tree: SessionTree, keys: string[]): Promise<Described> => {
	const inodes: Record<string, unknown>[] = [];
	const seen = new Set<number>();
	const visit = async (id: number): Promise<void> => {
		if (seen.has(id)) return;
		seen.add(id);
		const { kind, mode, nlink, uid, gid, size, rdevMajor, rdevMinor, atime, mtime, ctime, verifier, target, base } =
			tree.inode(id)!;
		const times = [atime, mtime, ctime].map(String);
		const common = { id, kind, mode, nlink, uid, gid, size, rdevMajor, rdevMinor, times };
		const rare = { verifier: verifier?.toString("hex"), target: target?.toString("latin1"), base };
		const content = kind === "file" ? sha256(await readAll(tree, id, 0, size)) : undefined;
		const { entries } = kind === "directory" ? tree.list(id, 0n, ALL) : { entries: undefined };
		const names = entries?.map((entry) => [entry.name, entry.id, String(entry.cookie)]);
		const parent = kind === "directory" ? tree.parent(id) : undefined;
		inodes.push({ ...common, ...rare, content, parent, names });
		for (const entry of entries ?? []) await visit(entry.id);
	};
	await visit(tree.root);
	const kept = keys.flatMap((key) => {
		const reply = tree.request(key);
		return reply ? [[key, reply.toString("hex")]] : [];
	});
	return JSON.parse(JSON.stringify({ inodes, requests: Object.fromEntries(kept) })) as Described;
};
