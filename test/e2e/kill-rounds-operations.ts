/**
 * Random NFS calls that change a world. Those in flight together never touch the same name, file or sector, so that
 * each has exactly one right answer, whichever is carried out first and however often it is sent.
 */
import { P, postOp, sattr, wcc } from "../nfs/nfs-client.js";
import { type Fields, xdr } from "../nfs/raw-client.js";
import { bytesOf } from "./content.js";
import {
	applied,
	type ContentChange,
	type NameChange,
	type Node,
	newNode,
	SECTOR,
	type Slot,
	type World,
} from "./kill-rounds-world.js";

const FILE_MAX = 48 * 1024;
/** Sectors that are written again and again. */
const BUSY_PART = 100_000;

export interface Operation {
	name: string;
	procedure: number;
	args: Buffer;
	/** Takes the rest of a successful answer into the world; throws when it is wrong. */
	answered(body: Fields, connection: number): void;
}

export class Operations {
	#content = 1;

	constructor(
		readonly world: World,
		readonly chance: () => number,
	) {}

	/** undefined: what was drawn is not possible beside what is in flight */
	next(): Operation | undefined {
		const choice = this.chance();
		if (choice < 0.42) return this.#writeDisk();
		if (choice < 0.47) return this.#commit();
		if (choice < 0.58) return this.#writeFile();
		if (choice < 0.64) return this.#setSize();
		if (choice < 0.77) return this.#make();
		if (choice < 0.86) return this.#remove();
		if (choice < 0.96) return this.#rename();
		return this.#link();
	}

	#below(limit: number): number {
		return Math.floor(this.chance() * limit);
	}

	/** A name that no operation in flight uses, and whose node, if any, none uses either. */
	#slot(fits: (node: Node | undefined) => boolean): Slot | undefined {
		const free = this.world.slots.filter(({ node, pending }) => !pending && !node?.locked && fits(node));
		return free[this.#below(free.length)];
	}

	#writeDisk(): Operation | undefined {
		const { disk } = this.world;
		const length = 1 + this.#below(this.chance() < 0.1 ? 60_000 : 9_000);
		const at = this.#below((this.chance() < 0.5 ? BUSY_PART : disk.data.length) - length);
		const first = Math.floor(at / SECTOR) * SECTOR;
		const end = Math.ceil((at + length) / SECTOR) * SECTOR;
		for (const change of disk.changes)
			if (first < Math.ceil((change.at + change.bytes.length) / SECTOR) * SECTOR)
				if (Math.floor(change.at / SECTOR) * SECTOR < end) return undefined;
		return this.#write(disk, at, length);
	}

	#writeFile(): Operation | undefined {
		const node = this.#slot((node) => node?.kind === "file")?.node;
		if (!node) return undefined;
		const length = 1 + this.#below(FILE_MAX / 2);
		node.locked = true;
		return this.#write(node, this.#below(FILE_MAX - length), length);
	}

	#write(node: Node, at: number, length: number): Operation {
		const stable = this.#below(3);
		const bytes = bytesOf(this.#content++, length);
		const change = this.#changes(node, { at, bytes, size: Math.max(node.data.length, at + length) });
		return {
			name: `WRITE ${["UNSTABLE", "DATA_SYNC", "FILE_SYNC"][stable]}`,
			procedure: P.WRITE,
			args: xdr().opaque(node.handle!).u64(at).u32(length, stable).opaque(bytes).done(),
			answered: (body, connection) => {
				wcc(body);
				const [count, committed] = [body.u32(), body.u32()];
				if (count !== length || committed < stable)
					throw new Error(`${count} of ${length} bytes, committed ${committed}, wanted ${stable}`);
				this.world.sawVerifier(body.raw(8), connection);
				change();
			},
		};
	}

	#commit(): Operation {
		return {
			name: "COMMIT",
			procedure: P.COMMIT,
			args: xdr().opaque(this.world.disk.handle!).u64(0).u32(0).done(),
			answered: (body, connection) => {
				wcc(body);
				this.world.sawVerifier(body.raw(8), connection);
			},
		};
	}

	#setSize(): Operation | undefined {
		const node = this.#slot((node) => node?.kind === "file")?.node;
		if (!node) return undefined;
		const size = this.#below(FILE_MAX);
		node.locked = true;
		const change = this.#changes(node, { at: 0, bytes: Buffer.alloc(0), size });
		return {
			name: "SETATTR",
			procedure: P.SETATTR,
			args: xdr().opaque(node.handle!).raw(sattr({ size })).u32(0).done(),
			answered: (body) => {
				wcc(body);
				change();
			},
		};
	}

	/** Content in flight; the result is called when it was acknowledged. */
	#changes(node: Node, change: ContentChange): () => void {
		node.changes.add(change);
		return () => {
			node.data = applied(node.data, change);
			node.changes.delete(change);
			node.locked = false;
		};
	}

	/** CREATE of two kinds, MKDIR, SYMLINK */
	#make(): Operation | undefined {
		const slot = this.#slot((node) => !node);
		if (!slot) return undefined;
		const choice = this.chance();
		const node = newNode(choice < 0.7 ? "file" : choice < 0.85 ? "dir" : "symlink");
		const done = this.#renames(new Map([[slot, node]]));
		const args = xdr().opaque(slot.directory).opaque(slot.name);
		let [name, procedure] = ["CREATE", P.CREATE];
		if (choice < 0.35) args.u32(1).raw(sattr({ mode: 0o600 }));
		else if (choice < 0.7) {
			name = "CREATE EXCLUSIVE";
			args.u32(2).raw(bytesOf(this.#content++, 8));
		} else if (choice < 0.85) {
			[name, procedure] = ["MKDIR", P.MKDIR];
			args.raw(sattr({ mode: 0o700 }));
		} else {
			[name, procedure] = ["SYMLINK", P.SYMLINK];
			args.raw(sattr()).opaque("where/ever");
		}
		return {
			name,
			procedure,
			args: args.done(),
			answered: (body) => {
				const handle = body.u32() ? Buffer.from(body.opaque()) : undefined;
				const fileid = postOp(body)?.fileid;
				if (!handle || fileid === undefined) throw new Error("no handle or attributes");
				if (fileid !== (node.fileid ?? fileid)) throw new Error(`made ${node.fileid}, answered ${fileid}`);
				Object.assign(node, { handle, fileid });
				done();
			},
		};
	}

	#remove(): Operation | undefined {
		const slot = this.#slot((node) => node !== undefined);
		if (!slot) return undefined;
		const directory = slot.node?.kind === "dir";
		const done = this.#renames(new Map([[slot, undefined]]));
		return {
			name: directory ? "RMDIR" : "REMOVE",
			procedure: directory ? P.RMDIR : P.REMOVE,
			args: xdr().opaque(slot.directory).opaque(slot.name).done(),
			answered: done,
		};
	}

	/** Onto a free name, or over something of the same kind. */
	#rename(): Operation | undefined {
		const from = this.#slot((node) => node !== undefined);
		const kind = from?.node?.kind === "dir";
		const to = this.#slot((node) => !node || (node !== from?.node && (node.kind === "dir") === kind));
		if (!from || !to) return undefined;
		return {
			name: "RENAME",
			procedure: P.RENAME,
			args: xdr().opaque(from.directory).opaque(from.name).opaque(to.directory).opaque(to.name).done(),
			answered: this.#renames(
				new Map([
					[to, from.node],
					[from, undefined],
				]),
			),
		};
	}

	#link(): Operation | undefined {
		const node = this.#slot((node) => node?.kind === "file")?.node;
		const to = this.#slot((node) => !node);
		if (!node || !to) return undefined;
		return {
			name: "LINK",
			procedure: P.LINK,
			args: xdr().opaque(node.handle!).opaque(to.directory).opaque(to.name).done(),
			answered: this.#renames(new Map([[to, node]])),
		};
	}

	/** Names in flight; the result is called when they were acknowledged. */
	#renames(pending: NameChange): () => void {
		const nodes = new Set([...pending].flatMap(([slot, after]) => [slot.node, after]));
		for (const node of nodes) if (node) node.locked = true;
		for (const slot of pending.keys()) slot.pending = pending;
		return () => {
			for (const [slot, after] of pending) {
				slot.node = after;
				slot.pending = undefined;
			}
			for (const node of nodes) {
				if (!node) continue;
				node.locked = false;
				node.links = this.world.slots.filter((slot) => slot.node === node).length;
				if (node.links === 0 && node.handle) this.world.removed.push(node.handle);
			}
		};
	}
}
