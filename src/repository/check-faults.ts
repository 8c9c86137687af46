/** What a check collects: one fault per kind and file, with the byte ranges it found and everything that they hit. */
import { type CheckFault, type CheckHit, RepositoryError } from "./contract.js";

/** Joins a range to the one before it when they adjoin. */
const joined = (last: { offset?: number; length?: number } | undefined, offset: number, length: number): boolean => {
	if (last?.offset === undefined || last.length === undefined || last.offset + last.length !== offset) return false;
	last.length += length;
	return true;
};

export class Faults {
	readonly #faults = new Map<string, CheckFault>();

	/** The fault of this kind in this file, made when it is new. */
	of(kind: string, file: string, message: string): CheckFault {
		const key = `${kind} ${file}`;
		let fault = this.#faults.get(key);
		if (fault === undefined) {
			fault = { kind, file, message, hits: [] };
			this.#faults.set(key, fault);
		}
		return fault;
	}

	get count(): number {
		return this.#faults.size;
	}

	list(): CheckFault[] {
		return [...this.#faults.values()];
	}
}

/** Says which bytes of its file a fault is about. */
export const addRange = (fault: CheckFault, offset: number, length: number): void => {
	fault.ranges ??= [];
	if (!joined(fault.ranges.at(-1), offset, length)) fault.ranges.push({ offset, length });
};

/** Says what a fault hits; bytes of a disk that adjoin are joined. */
export const addHit = (fault: CheckFault, hit: CheckHit): void => {
	const last = fault.hits.at(-1);
	const same = last?.point === hit.point && last.disk === hit.disk && last.file === hit.file;
	if (same && hit.offset === undefined) return;
	if (same && hit.offset !== undefined && joined(last, hit.offset, hit.length ?? 0)) return;
	fault.hits.push(hit);
};

/** Throws INTERRUPTED once the signal has fired. `faults`: found so far. */
export const interrupted = (signal: AbortSignal | undefined, faults?: Faults): void => {
	if (!signal?.aborted) return;
	const found = faults === undefined || faults.count === 0 ? "" : `; ${faults.count} faults had been found`;
	throw new RepositoryError("INTERRUPTED", `interrupted: not everything was verified${found}`);
};
