/**
 * Several VMs, some at once, into one open repository: what they have in common is stored once. Each has its own restore
 * point, and one that fails takes no other with it.
 */
import { ReadLimit, timerUntil } from "../image/index.js";
import type { Progress, Repository } from "../repository/contract.js";
import { type BackupReport, backup } from "./backup.js";
import type { ListedVm } from "./vm-list.js";

export interface SeveralOptions {
	/** VMs at once */
	parallel: number;
	/** read the sources no faster than this, bytes per second, all VMs together */
	readLimit?: number;
	/** for those that name none themselves */
	compression?: string;
	/** in addition to their own */
	tags?: string[];
	/** as soon as a VM is done, has failed, or was left out because of an interruption */
	ended: (outcome: VmOutcome) => void;
	progress?: (progress: Progress) => void;
	signal?: AbortSignal;
	/** injected clock; default the system's */
	now?: () => Date;
}

/** What became of one VM. */
export type VmOutcome =
	| ({ vm: string; done: true } & BackupReport)
	/** `error`: undefined when it was not begun */
	| { vm: string; done: false; error: unknown };

/** Resolves when all have ended, in the order of the list. */
export async function backupSeveral(
	repository: Repository,
	vms: readonly ListedVm[],
	options: SeveralOptions,
): Promise<VmOutcome[]> {
	const { signal, ended } = options;
	const limit = options.readLimit === undefined ? undefined : new ReadLimit(options.readLimit, timerUntil(signal));
	const sum = new SumOfProgress(vms.length, options.progress);
	const one = async (listed: ListedVm): Promise<VmOutcome> => {
		const { vm, tags } = listed;
		try {
			const report = await backup(repository, {
				...listed,
				tags: [...new Set([...tags, ...(options.tags ?? [])])],
				compression: listed.compression ?? options.compression,
				readLimit: limit,
				progress: (p) => sum.update(vm, p),
				...{ signal, now: options.now },
			});
			return { done: true, ...report };
		} catch (error) {
			return { vm, done: false, error };
		} finally {
			sum.end(vm);
		}
	};
	const outcomes: VmOutcome[] = [];
	let next = 0;
	const worker = async () => {
		while (next < vms.length) {
			const n = next++;
			outcomes[n] = signal?.aborted ? { vm: vms[n].vm, done: false, error: undefined } : await one(vms[n]);
			ended(outcomes[n]);
		}
	};
	await Promise.all(Array.from({ length: Math.min(options.parallel, vms.length) }, worker));
	return outcomes;
}

/** One line for all: those that run, each with its share. */
class SumOfProgress {
	readonly #running = new Map<string, Progress>();
	#ended = 0;
	/** bytes of the VMs that have ended */
	#bytes = 0;

	constructor(
		private readonly vms: number,
		private readonly tell: ((progress: Progress) => void) | undefined,
	) {}

	update(vm: string, progress: Progress): void {
		this.#running.set(vm, progress);
		const running = [...this.#running];
		const sum = (of: "done" | "total") => running.reduce((bytes, [, one]) => bytes + one[of], this.#bytes);
		const shares = running.map(
			([name, { done, total }]) => `${name} ${Math.floor((100 * done) / Math.max(1, total))}%`,
		);
		this.tell?.({
			done: sum("done"),
			total: sum("total"),
			what: `${this.#ended} of ${this.vms} VMs, ${shares.join(", ")}:`,
		});
	}

	end(vm: string): void {
		this.#ended += 1;
		this.#bytes += this.#running.get(vm)?.done ?? 0;
		this.#running.delete(vm);
	}
}
