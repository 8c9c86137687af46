/** Whether the clock of this machine can be believed. */
import type { Point, Repository } from "../repository/contract.js";

/** Points are ordered by time, so one that was made after the clock was set back is not the newest. */
export async function clockWarnings(repository: Repository, { id, vm, time }: Point): Promise<string[]> {
	const newest = await repository.resolve(vm);
	if (newest.id === id || newest.time <= time) return [];
	return [
		`the clock says ${time}, but the newest restore point of ${vm} is of ${newest.time}: check the clock; ` +
			`${vm} still names that one, this one is ${vm}@${id.slice(0, 8)}`,
	];
}
