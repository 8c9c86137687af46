/** Finds and takes away what crashed runs left: by notes, and by the names that labs have on this machine. */
import { isLocked } from "./lock.js";
import { scan, takeAway } from "./namespace/take-away.js";
import { notedLabs, removeNote } from "./notes.js";

/**
 * One line for each lab of which something was left. Labs of living processes stay, whatever directory they have.
 *
 * @param directory where labs were noted
 * @param alive whether the run that made this lab still lives
 */
export const cleanLabs = async (directory: string, alive: (id: string) => boolean): Promise<string[]> => {
	const noted = notedLabs(directory);
	const root = process.getuid?.() === 0;
	// Only root makes anything outside of the directory.
	const found = root ? [...new Set([...noted, ...(await scan())])] : noted;
	const lines: string[] = [];
	for (const id of found) {
		if (alive(id) || isLocked(id)) continue;
		const gone = root ? await takeAway(id) : [];
		if (noted.includes(id)) {
			removeNote(directory, id);
			gone.push("its note");
		}
		if (gone.length > 0) lines.push(`lab ${id} of a run that ended: taken away: ${gone.join(", ")}`);
	}
	return lines;
};
