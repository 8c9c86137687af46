/** A file of a session: reads lend cache slices where they can, writes are as durable as they say. */
import type { Loan } from "../image/image.js";
import type { Changed, Failed, FileNode, Maybe, ReadData, Stability, Written } from "../vfs/vfs.js";
import { SessionNode } from "./session-node.js";
import { failed } from "./status.js";

export class FileInode extends SessionNode implements FileNode {
	readonly kind = "file";

	read(offset: number, count: number): Maybe<ReadData | Failed> {
		const inode = this.inode();
		if (!inode) return { status: "STALE" };
		const length = Math.max(0, Math.min(count, inode.size - offset));
		// ESXi fails VM creation unless eof is set whenever the read reaches the end.
		const eof = offset + count >= inode.size;
		if (length === 0) return { status: "OK", data: [], count: 0, eof, after: this.attributes() };
		const loans = this.tree.borrow(this.id, offset, length);
		if (loans) {
			const after = this.attributes();
			if (loans.length === 1) {
				const loan = loans[0];
				return { status: "OK", data: [loan.data], count: length, eof, after, release: () => loan.release() };
			}
			const data = loans.map((loan) => loan.data);
			return { status: "OK", data, count: length, eof, after, release: () => releaseAll(loans) };
		}
		const { readBuffers } = this.place.datastore;
		const target = readBuffers.take(length);
		const release = () => readBuffers.give(target);
		const failed = (error: unknown) => {
			release();
			return this.readFailed(error, offset, length);
		};
		try {
			const pending = this.tree.read(this.id, offset, target);
			if (!pending) return { status: "OK", data: [target], count: length, eof, after: this.attributes(), release };
			return pending.then(
				() => ({ status: "OK", data: [target], count: length, eof, after: this.after(), release }) as const,
				failed,
			);
		} catch (error) {
			return failed(error);
		}
	}

	private readFailed(error: unknown, offset: number, length: number): Failed {
		const failure = failed(error);
		const { session, datastore } = this.place;
		datastore.options.log(
			`session ${session.name}, inode ${this.id}: read of ${length} bytes at ${offset} failed: ${(error as Error).message}`,
		);
		return { ...failure, change: { after: this.after() } };
	}

	async write(offset: number, data: Buffer, stability: Stability): Promise<Written | Failed> {
		if (!this.inode()) return { status: "STALE" };
		if (this.place.session.readOnly) return this.refused("ROFS");
		if (offset + data.length > Number.MAX_SAFE_INTEGER) return this.refused("FBIG");
		const prior = this.before();
		const stable = stability !== "unstable" || this.place.session.sync;
		try {
			const { before } = await this.tree.write(this.id, offset, data, stable);
			return {
				status: "OK",
				count: data.length,
				committed: stable ? "file-sync" : "unstable",
				change: { before, after: this.after() },
			};
		} catch (error) {
			return { ...failed(error), change: { before: prior, after: this.after() } };
		}
	}

	commit(): Maybe<Changed | Failed> {
		const before = this.before();
		return before ? this.changing(before, this.tree.commit(this.id)) : { status: "STALE" };
	}
}

function releaseAll(loans: Loan[]): void {
	for (const loan of loans) loan.release();
}
