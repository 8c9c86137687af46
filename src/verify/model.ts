/** What the parts of this room share: a plan as it is carried out, and the report of a run. */
import type { LabNetwork } from "../lab/contract.js";
import type { TestSpec } from "./tests/contract.js";

// ── plan ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Which restore points: the newest, so many at random out of the last days (seeded by the run), or all since the last run. */
export type PointChoice =
	| { which: "latest" }
	| { which: "random"; count: number; days: number | null }
	| { which: "new" }
	| { which: "named"; point: string };

/** When a guest counts as booted. "auto": agent if it answers, else an address, else a quiet console. */
export type Stabilise =
	| { by: "auto" | "agent" | "address"; timeoutMs: number }
	/** console output (or, without any, the picture) has not changed for so long */
	| { by: "console"; quietMs: number; timeoutMs: number }
	/** the console says this (regular expression) */
	| { by: "output"; match: string; timeoutMs: number }
	| { by: "time"; waitMs: number; timeoutMs: number };

export interface VmPlan {
	/** name of the VM in the repository; patterns are resolved before */
	vm: string;
	/** names of VMs of the same group that must have passed first */
	after: string[];
	role: string | null;
	points: PointChoice;
	/** instead of the VM's own; null: its own */
	memoryMiB: number | null;
	cpus: number | null;
	stabilise: Stabilise;
	/** the test's own limits apart, all of this VM is over after so long */
	timeoutMs: number;
	tests: TestSpec[];
	/** known addresses by MAC, for guests that neither ask nor speak */
	addresses: Record<string, string>;
}

export interface GroupPlan {
	name: string;
	/** the group shares a lab */
	networks: LabNetwork[];
	vms: VmPlan[];
}

export interface VerificationPlan {
	version: 1;
	name: string;
	/** of `springback hosts`; null: QEMU on this machine, in a folder of ours */
	host: string | null;
	limits: {
		/** VMs that are verified at once; those that are only kept for others do not count */
		parallel: number;
		/** virtual processors and memory of all VMs that run at once */
		cpus: number;
		memoryMiB: number;
		/** of the whole run */
		timeoutMs: number;
	};
	/** after a VM failed: go on with all; start no more of its group, nor what depends on it; start nothing more */
	onFailure: "continue" | "group" | "stop";
	groups: GroupPlan[];
	/** told the result by POST; null: nobody */
	webhook: string | null;
	/** file with the secret that signs what the webhook is told (HMAC-SHA-256); null: unsigned */
	webhookSecretFile?: string | null;
}

// ── report ───────────────────────────────────────────────────────────────────────────────────────────────────────────

export type VmResult = "passed" | "failed" | "warning" | "skipped" | "cancelled";

/** What was wrong, for people and machines. */
export type Fault =
	/** a block of the point is damaged or missing */
	| "damaged-data"
	/** firmware finds nothing to boot */
	| "no-boot"
	/** a file system is corrupt */
	| "file-system"
	/** the guest began to boot and does not get any further */
	| "hang"
	/** the guest runs, a test of it failed */
	| "service"
	/** springback, the host or the lab could not do it: says nothing about the point */
	| "infrastructure";

/** Moments in the order of time; ms since the VM's verification began. */
export interface TimelineEntry {
	/**
	 * In the order in which they usually come: "publish", "register", "power-on", "first-read", "boot-loader" (the first read
	 * beyond the first sector), "console", "kernel", "agent", "address", "stable", "test:NAME", "checksum", "power-off"
	 */
	what: string;
	atMs: number;
	/** ms, of what took time */
	tookMs: number | null;
	detail: string | null;
}

export interface TestReport {
	kind: string;
	name: string;
	result: "passed" | "failed" | "warning" | "skipped";
	message: string;
	output: string;
	attempts: number;
	startedMs: number;
	tookMs: number;
	value: { name: string; unit: string; amount: number } | null;
	/** what a test that did not pass says of the VM */
	fault?: Fault | null;
}

export interface VmReport {
	vm: string;
	group: string;
	role: string | null;
	point: { id: string; time: string };
	/** which image of what: size in bytes and root identity of each disk of the point, before and after (must be equal) */
	disks: { name: string; size: number; identityBefore: string; identityAfter: string | null }[];
	result: VmResult;
	fault: Fault | null;
	/** one sentence: what was wrong, or that all is well */
	summary: string;
	started: string;
	ended: string;
	timeline: TimelineEntry[];
	/** ms from power-on to the last test of a service that passed (stabilisation, where there is none); null: never */
	timeToServiceMs: number | null;
	/** bytes read from the backup until it was stable, and in all */
	readToBoot: number | null;
	readInAll: number | null;
	tests: TestReport[];
	/** PNG files: base64 */
	screenshots: { when: "stable" | "failure" | "end"; png: string }[];
	/** serial log, the last 256 KiB */
	console: string;
	addresses: string[];
	generationId: string | null;
}

export interface RunReport {
	version: 1;
	/** 32 hex digits */
	id: string;
	plan: string;
	repository: { id: string; path: string };
	host: { name: string; type: string; versions: Record<string, string> };
	springback: string;
	/** who or what started it: user, command, machine */
	by: { user: string; machine: string; command: string };
	started: string;
	ended: string;
	result: "passed" | "failed" | "warning" | "cancelled";
	limits: VerificationPlan["limits"];
	labMode: string;
	vms: VmReport[];
}
