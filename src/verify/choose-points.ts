/** Which restore points of a VM a run looks at. */
import type { Point, Repository } from "../repository/index.js";
import { VerifyError } from "./errors.js";
import type { PointChoice } from "./model.js";

const DAY = 86_400_000;

/** Newest first; empty: there is none that the choice wants. */
export const choosePoints = async (
	repository: Repository,
	vm: string,
	choice: PointChoice,
	{ verified, random, now }: { verified(): Promise<Set<string>>; random(limit: number): number; now(): Date },
): Promise<Point[]> => {
	if (choice.which === "named") return [await repository.resolve(`${vm}@${choice.point}`)];
	const points = (await repository.points(vm)).reverse();
	if (points.length === 0)
		throw new VerifyError("USAGE", `the repository has no restore point of ${vm}: springback points lists its VMs`);
	switch (choice.which) {
		case "latest":
			return points.slice(0, 1);
		case "new": {
			const known = await verified();
			return points.filter(({ id }) => !known.has(id));
		}
		case "random": {
			const since = choice.days === null ? 0 : now().getTime() - choice.days * DAY;
			const left = points.filter(({ time }) => Date.parse(time) >= since);
			const chosen: Point[] = [];
			while (chosen.length < choice.count && left.length > 0) chosen.push(...left.splice(random(left.length), 1));
			return chosen.sort((a, b) => (a.time < b.time ? 1 : -1));
		}
	}
};
