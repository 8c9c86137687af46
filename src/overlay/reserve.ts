/**
 * `reserve`: blocks kept back so that a full disk still allows remove, truncate, checkpoint and compaction.
 */
import { constants } from "node:fs";
import { sys } from "../../native/index.js";
import { allocate } from "./allocate.js";
import { isNoSpace } from "./errors.js";

export class Reserve {
	readonly fd: number;
	#whole: boolean;

	/** `headroom`: bytes that must be free beyond the reserve before it is taken back. */
	constructor(
		readonly directory: string,
		readonly size: number,
		readonly headroom: number,
	) {
		this.fd = sys.open(`${directory}/reserve`, constants.O_RDWR | constants.O_CREAT, 0o600);
		this.#whole = size === 0 || sys.fstat(this.fd).allocated >= size;
	}

	/** False while a part of it is given away: writes and creations must wait. */
	get whole(): boolean {
		return this.#whole;
	}

	/** Gives its blocks back; false when there was nothing left to give. */
	release(): boolean {
		if (!this.#whole || this.size === 0) return false;
		sys.ftruncate(this.fd, 0);
		this.#whole = false;
		return true;
	}

	/** Takes the blocks back if there is room; true when the reserve is whole. */
	restore(): boolean {
		if (this.#whole) return true;
		if (sys.statfs(this.directory).available < this.size + this.headroom) return false;
		try {
			allocate(this.fd, 0, this.size);
		} catch (error) {
			if (!isNoSpace(error)) throw error;
			sys.ftruncate(this.fd, 0);
			return false;
		}
		this.#whole = true;
		return true;
	}

	close(): void {
		sys.close(this.fd);
	}
}
