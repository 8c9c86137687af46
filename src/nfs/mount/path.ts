/** Mount paths as clients write them, and the export a path lies in. */
import { isFailed } from "../../vfs/failed.js";
import type { DirectoryNode, ExportEntry, Failed, FileSystem, Maybe } from "../../vfs/vfs.js";

/**
 * "/a/b" for "/a/b/", "//a///b" and "a/b": ESXi sends trailing and repeated slashes in MNT, and UMNT with or
 * without the leading one.
 */
export function normalizePath(path: string): string {
	return `/${path
		.split("/")
		.filter((part) => part !== "")
		.join("/")}`;
}

/** The export that a normalized path lies in: the longest that is the path or a parent of it. */
export function exportOf(fileSystem: FileSystem, path: string): ExportEntry | undefined {
	let best: ExportEntry | undefined;
	for (const entry of fileSystem.exports()) {
		const inside = path === entry.path || path.startsWith(entry.path === "/" ? "/" : `${entry.path}/`);
		if (inside && (best === undefined || entry.path.length > best.path.length)) best = entry;
	}
	return best;
}

/** The directory at `path` in or below the export. */
export function directoryAt(fileSystem: FileSystem, entry: ExportEntry, path: string): Maybe<DirectoryNode | Failed> {
	const root = fileSystem.exportRoot(entry.path);
	const parts = path.slice(entry.path.length).split("/").filter(Boolean);
	if (isFailed(root) || parts.length === 0) return root;
	return descend(root, parts);
}

async function descend(root: DirectoryNode, parts: string[]): Promise<DirectoryNode | Failed> {
	let directory = root;
	for (const part of parts) {
		// Mount paths name directories downwards only.
		if (part === "." || part === "..") return { status: "NOENT" };
		const node = await directory.lookup(part);
		if (isFailed(node)) return node;
		if (node.kind !== "directory") return { status: "NOTDIR" };
		directory = node as DirectoryNode;
	}
	return directory;
}
