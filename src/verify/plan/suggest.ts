/** "Did you mean": the known word that is nearest to what somebody wrote. */

/** `; did you mean "X"?`, or what there is when nothing is near. `known` in the order to print. */
export const suggestion = (word: string, known: readonly string[]): string => {
	const near = nearest(word, known);
	if (near !== undefined) return `did you mean "${near}"?`;
	if (known.length === 0) return "there is none";
	const shown = known.slice(0, 12).join(", ");
	return `there is ${shown}${known.length > 12 ? `, … (${known.length} in all)` : ""}`;
};

const nearest = (word: string, known: readonly string[]): string | undefined => {
	const wanted = plain(word);
	const limit = Math.max(1, Math.floor(wanted.length / 3));
	const rated = known
		.map((candidate) => ({ candidate, distance: distance(wanted, plain(candidate)) }))
		.sort((a, b) => a.distance - b.distance);
	return rated.length > 0 && rated[0].distance <= limit ? rated[0].candidate : undefined;
};

const plain = (word: string): string => word.toLowerCase().replaceAll(/[-_. ]/g, "");

/** Insertions, deletions, replacements and swapped neighbours that lead from one to the other (optimal string alignment). */
const distance = (a: string, b: string): number => {
	const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
	for (let i = 1; i <= a.length; i++) {
		const row = [i];
		for (let j = 1; j <= b.length; j++) {
			const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? rows[i - 2][j - 2] + 1 : Infinity;
			const replaced = rows[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
			row.push(Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, replaced, swap));
		}
		rows.push(row);
	}
	return rows[a.length][b.length];
};
