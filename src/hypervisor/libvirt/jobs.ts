/** Jobs of libvirt: a VM has one backup at a time, and one of its disks one block job. */
import type { Domain } from "./domain.js";
import { busy } from "./lock.js";

/** What the VM does for somebody ("Backup", …); undefined: nothing. */
export const domainJob = async ({ host, id }: Domain): Promise<string | undefined> => {
	// Off: there is none.
	const lines = await host.virsh.call(["domjobinfo", id]).catch(() => "");
	const type = /^Job type:\s*(.*?)\s*$/m.exec(lines)?.[1];
	return type === undefined || type === "None" ? undefined : (/^Operation:\s*(.*?)\s*$/m.exec(lines)?.[1] ?? type);
};

/** Rejects with BUSY: libvirt would have us wait for half a minute, and refuse then. */
export const refuseBusy = async (domain: Domain): Promise<void> => {
	const job = await domainJob(domain);
	if (job !== undefined) throw busy(domain, `has a job that springback did not begin (${job})`);
};

export interface BlockJob {
	/** "Block Copy", … */
	type: string;
	done: number;
	total: number;
}

export const blockJob = async ({ host, id }: Domain, target: string): Promise<BlockJob | undefined> => {
	const lines = await host.virsh.call(["blockjob", id, target, "--info", "--raw", "--bytes"]);
	const value = (key: string) => new RegExp(`^\\s*${key}=(.*)$`, "m").exec(lines)?.[1];
	const type = value("type");
	return type === undefined ? undefined : { type, done: Number(value("cur")), total: Number(value("end")) };
};
