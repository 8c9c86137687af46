/** What NBD clients read from, and wrote to, the disks of a session since it is served. */
import type { NbdCounts } from "../stats-result.js";

/** The partition table, and what QEMU itself looks at before a guest runs. */
const FIRST_SECTOR = 512;

export class Meter {
	#reads = 0;
	#bytesRead = 0;
	#writes = 0;
	#bytesWritten = 0;
	#failures = 0;
	#firstRead: Date | null = null;
	#firstBeyond: Date | null = null;

	constructor(private readonly now: () => Date) {}

	read(offset: number, length: number): void {
		this.#reads++;
		this.#bytesRead += length;
		if (this.#firstBeyond !== null) return;
		this.#firstRead ??= this.now();
		if (offset + length > FIRST_SECTOR) this.#firstBeyond = this.now();
	}

	wrote(length: number): void {
		this.#writes++;
		this.#bytesWritten += length;
	}

	failed(): void {
		this.#failures++;
	}

	counts(): NbdCounts {
		return {
			...{ reads: this.#reads, bytesRead: this.#bytesRead, writes: this.#writes, bytesWritten: this.#bytesWritten },
			...{ failures: this.#failures, firstRead: this.#firstRead?.toISOString() ?? null },
			firstReadBeyondSector: this.#firstBeyond?.toISOString() ?? null,
		};
	}
}
