/** Waits until the guest shows that it lives: its agent answers, it has an address, the service that counts is there. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Hypervisor } from "../hypervisor/index.js";
import type { RecoveryRecord } from "./records.js";

const POLL_MS = 250;
const SERVICE_MS = 20_000;

export interface LifeOptions {
	/** ms to wait at most */
	waitMs: number;
	/** a shell command in the guest that succeeds once the service is there */
	service?: string;
	/** ms since the command began */
	elapsed: () => number;
}

/** Times in ms from the command. */
export interface Life {
	powerOn: number;
	/** null: none within the time */
	signOfLife: number | null;
	/** null: not asked for, or none within the time */
	service: number | null;
	addresses: string[];
}

/** Resolves early when the signal fires: the VM runs, waiting is all that ends. */
export const waitForLife = async (
	{ id }: RecoveryRecord,
	host: Hypervisor,
	{ waitMs, service, elapsed }: LifeOptions,
	signal: AbortSignal,
): Promise<Life> => {
	const life: Life = { powerOn: elapsed(), signOfLife: null, service: null, addresses: [] };
	const until = Date.now() + waitMs;
	while (!signal.aborted && Date.now() < until) {
		if (life.signOfLife === null && (await host.heartbeat(id))) life.signOfLife = elapsed();
		if (life.addresses.length === 0) {
			// Without an agent some hosts still know of leases.
			life.addresses = await host.addresses(id).catch(() => []);
			if (life.addresses.length > 0) life.signOfLife ??= elapsed();
		}
		if (life.signOfLife !== null && service !== undefined && (await serves(host, id, service)))
			life.service = elapsed();
		const waiting = life.signOfLife === null || (service !== undefined && life.service === null);
		if (!waiting) break;
		await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
	}
	return life;
};

const serves = async (host: Hypervisor, id: string, command: string): Promise<boolean> => {
	const result = await host.run(id, "/bin/sh", ["-c", command], SERVICE_MS).catch(() => undefined);
	return result?.code === 0;
};
