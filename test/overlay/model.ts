/** The simplest thing that could be a session: a tree in memory, with POSIX rules. */
import { OverlayError, type SessionTree } from "../../src/overlay/index.js";
import { readAll } from "./lab.js";

export interface ModelNode {
	kind: "file" | "directory" | "symlink";
	content: Buffer;
	entries: Map<string, number>;
	nlink: number;
	mode: number;
	parent: number;
}

const fail = (code: OverlayError["code"]): never => {
	throw new OverlayError(code, code);
};

export class Model {
	readonly nodes = new Map<number, ModelNode>();
	readonly root = 1;

	constructor() {
		this.nodes.set(1, blank("directory", 1));
	}

	clone(): Model {
		const copy = new Model();
		for (const [id, node] of this.nodes)
			copy.nodes.set(id, { ...node, content: Buffer.from(node.content), entries: new Map(node.entries) });
		return copy;
	}

	node(id: number): ModelNode {
		return this.nodes.get(id) ?? fail("ESTALE");
	}

	directory(id: number): ModelNode {
		const node = this.node(id);
		return node.kind === "directory" ? node : fail("ENOTDIR");
	}

	create(
		directory: number,
		name: string,
		id: number,
		kind: ModelNode["kind"],
		content: Buffer = Buffer.alloc(0),
	): void {
		const parent = this.directory(directory);
		if (parent.entries.has(name)) fail("EEXIST");
		const node = blank(kind, directory);
		node.content = content;
		if (kind === "directory") parent.nlink++;
		parent.entries.set(name, id);
		this.nodes.set(id, node);
	}

	remove(directory: number, name: string, wantDirectory: boolean): void {
		const parent = this.directory(directory);
		const id = parent.entries.get(name) ?? fail("ENOENT");
		const node = this.node(id);
		if (node.kind === "directory" && !wantDirectory) fail("EISDIR");
		if (node.kind !== "directory" && wantDirectory) fail("ENOTDIR");
		if (node.entries.size > 0) fail("ENOTEMPTY");
		parent.entries.delete(name);
		this.#unlink(parent, id);
	}

	#unlink(parent: ModelNode, id: number): void {
		const node = this.node(id);
		if (node.kind === "directory") {
			parent.nlink--;
			this.nodes.delete(id);
		} else if (--node.nlink === 0) this.nodes.delete(id);
	}

	rename(from: number, name: string, to: number, toName: string): void {
		const source = this.directory(from);
		const target = this.directory(to);
		const id = source.entries.get(name) ?? fail("ENOENT");
		const node = this.node(id);
		const old = target.entries.get(toName);
		if (old === id) return;
		if (old !== undefined) {
			const victim = this.node(old);
			if (node.kind === "directory" && victim.kind !== "directory") fail("ENOTDIR");
			if (node.kind !== "directory" && victim.kind === "directory") fail("EISDIR");
			if (victim.entries.size > 0) fail("ENOTEMPTY");
		}
		if (node.kind === "directory") {
			for (let at = to; ; at = this.node(at).parent) {
				if (at === id) fail("EINVAL");
				if (at === 1) break;
			}
		}
		if (old !== undefined) this.#unlink(target, old);
		source.entries.delete(name);
		target.entries.set(toName, id);
		if (node.kind === "directory") {
			source.nlink--;
			target.nlink++;
			node.parent = to;
		}
	}

	link(id: number, directory: number, name: string): void {
		const node = this.node(id);
		const parent = this.directory(directory);
		if (node.kind === "directory") fail("EINVAL");
		if (parent.entries.has(name)) fail("EEXIST");
		parent.entries.set(name, id);
		node.nlink++;
	}

	write(id: number, offset: number, data: Buffer): void {
		const node = this.node(id);
		if (node.kind === "directory") fail("EISDIR");
		if (node.kind !== "file") fail("EINVAL");
		if (offset + data.length > node.content.length) this.resize(id, offset + data.length);
		data.copy(node.content, offset);
	}

	resize(id: number, size: number): void {
		const node = this.node(id);
		if (node.kind === "directory") fail("EISDIR");
		if (node.kind !== "file") fail("EINVAL");
		const content = Buffer.alloc(size);
		node.content.copy(content, 0, 0, Math.min(size, node.content.length));
		node.content = content;
	}

	/** The first difference between a session and this model, or undefined. */
	async difference(tree: SessionTree): Promise<string | undefined> {
		for (const [id, node] of this.nodes) {
			const inode = tree.inode(id);
			if (!inode) return `inode ${id} is missing`;
			if (inode.kind !== node.kind) return `inode ${id} is a ${inode.kind}`;
			if (inode.nlink !== node.nlink) return `inode ${id} has ${inode.nlink} links, not ${node.nlink}`;
			if (node.kind === "directory") {
				const { entries, end } = tree.list(id, 0n, 100_000);
				const names = entries.map((e) => `${e.name}=${e.id}`).sort();
				const expected = [...node.entries].map(([name, child]) => `${name}=${child}`).sort();
				if (!end || names.join() !== expected.join()) return `directory ${id}: ${names} is not ${expected}`;
				if (tree.parent(id) !== node.parent) return `directory ${id} has parent ${tree.parent(id)}`;
				continue;
			}
			if (node.kind === "symlink") {
				if (!inode.target?.equals(node.content)) return `symlink ${id} points to ${inode.target}`;
				continue;
			}
			if (inode.size !== node.content.length) return `file ${id} has ${inode.size} bytes, not ${node.content.length}`;
			if (inode.used > inode.size) return `file ${id} uses more than it has`;
			const content = await readAll(tree, id, 0, inode.size);
			const at = content.findIndex((byte, i) => byte !== node.content[i]);
			if (at >= 0) return `file ${id} differs at ${at}: ${content[at]} is not ${node.content[at]}`;
		}
		return undefined;
	}
}

const blank = (kind: ModelNode["kind"], parent: number): ModelNode => ({
	kind,
	content: Buffer.alloc(0),
	entries: new Map(),
	nlink: kind === "directory" ? 2 : 1,
	mode: 0,
	parent,
});
