/** QEMU's jobs: started, waited for, dismissed. */
import { setTimeout as sleep } from "node:timers/promises";
import { OURS } from "./block-nodes.js";
import type { Qmp } from "./qmp.js";

export interface Job {
	id: string;
	/** "created", "running", "ready", "concluded", … */
	status: string;
	"current-progress": number;
	"total-progress": number;
	error?: string;
}

const POLL_MS = 20;

export const ourJobs = async (qmp: Qmp): Promise<Job[]> =>
	(await qmp.execute<Job[]>("query-jobs")).filter(({ id }) => id.startsWith(OURS));

/** Waits until a job that does not dismiss itself is over. Rejects with an Error in its words. */
export const concluded = async (qmp: Qmp, id: string): Promise<void> => {
	for (;;) {
		const job = (await ourJobs(qmp)).find((one) => one.id === id);
		if (job === undefined) return;
		if (job.status === "concluded") {
			await qmp.execute("job-dismiss", { id });
			if (job.error !== undefined) throw new Error(job.error);
			return;
		}
		await sleep(POLL_MS);
	}
};

/** Ends a job whatever it does, and waits until it is gone. */
export const cancelJob = async (qmp: Qmp, id: string): Promise<void> => {
	await qmp.execute("block-job-cancel", { device: id, force: true }).catch(() => {});
	await concluded(qmp, id).catch(() => {});
};
