/** Figures as people read them. */

/** "500 ms", "1.5 s", "90 s", "5 min", "2 h" */
export const inWords = (ms: number): string => {
	if (ms < 1_000) return `${Math.round(ms)} ms`;
	if (ms < 120_000) return `${Number((ms / 1_000).toFixed(1))} s`;
	if (ms < 120 * 60_000) return `${Number((ms / 60_000).toFixed(1))} min`;
	return `${Number((ms / 3_600_000).toFixed(1))} h`;
};

/** "512 MiB", "2 GiB" */
export const memoryInWords = (mebibytes: number): string =>
	mebibytes >= 1024 && mebibytes % 512 === 0 ? `${mebibytes / 1024} GiB` : `${mebibytes} MiB`;

/** "1 VM", "3 VMs" */
export const counted = (n: number, word: string): string => `${n} ${word}${n === 1 ? "" : "s"}`;
