/** A disk of a served session as an Image: the same overlay file that NFS clients see as `DISK-flat.vmdk`. */
import type { ServedSession } from "../../datastore/datastore.js";
import type { Extent, Loan, WritableImage } from "../../image/image.js";
import type { InodeId } from "../../overlay/index.js";

export class SessionDisk implements WritableImage {
	/** @param size bytes, while a client uses it. Where a client of NFS cuts the file off meanwhile, zeros follow. */
	constructor(
		private readonly session: ServedSession,
		private readonly id: InodeId,
		readonly size: number,
	) {}

	read(offset: number, target: Buffer): void | Promise<void> {
		return this.session.tree.read(this.id, offset, target);
	}

	borrow(offset: number, length: number): Loan[] | undefined {
		return this.session.tree.borrow(this.id, offset, length);
	}

	extents(offset: number, length: number): Extent[] | Promise<Extent[]> {
		return this.session.tree.extents(this.id, offset, length);
	}

	async write(offset: number, data: Buffer): Promise<void> {
		await this.session.tree.write(this.id, offset, data, this.session.sync);
	}

	async writeStable(offset: number, data: Buffer): Promise<void> {
		await this.session.tree.write(this.id, offset, data, true);
	}

	zero(offset: number, length: number): Promise<void> {
		return this.session.tree.zero(this.id, offset, length, this.session.sync);
	}

	flush(): Promise<void> {
		return this.session.tree.commit(this.id);
	}

	async close(): Promise<void> {}
}
