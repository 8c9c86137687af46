/** Wall clock in nanoseconds: milliseconds from the system, finer digits from the monotonic clock. */
const origin = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
let last = 0n;

/**
 * ns since the epoch. Follows steps of the system clock (by the millisecond), never returns the same value
 * twice within one process.
 */
export function wallClockNs(): bigint {
	const coarse = BigInt(Date.now()) * 1_000_000n;
	const fine = origin + process.hrtime.bigint();
	const drift = fine - coarse;
	const now = drift < 50_000_000n && drift > -50_000_000n ? fine : coarse;
	last = now > last ? now : last + 1n;
	return last;
}
