/** What a test of a verified VM is: one file per kind, registered in `kinds.ts`. */
import type { GuestResult } from "../../hypervisor/index.js";
import type { Image } from "../../image/index.js";
import type { Endpoint, LabPort } from "../../lab/contract.js";
import type { Fault } from "../model.js";

/** What every test has, whatever its kind. */
export interface TestSpec {
	kind: string;
	/** as reports call it; default: made of kind and options */
	name: string;
	/** ms for one attempt */
	timeoutMs: number;
	/** further attempts after the first, and ms between two */
	retries: number;
	retryMs: number;
	/** a failure is only a warning */
	optional: boolean;
	/** of the kind, validated by it */
	options: Record<string, unknown>;
}

/** What a test may use. Everything rejects once `signal` fires. */
export interface TestContext {
	/** name of the VM in the repository */
	vm: string;
	point: string;
	/** name in the lab: other guests reach it so */
	guest: string;
	/** Where the whole guest answers the tester; rejects with TestFailure when no address is known, or only ports are forwarded. */
	reach(): Promise<string>;
	/** Where one port of it answers the tester; rejects with TestFailure when no address is known. */
	endpoint(port: LabPort): Promise<Endpoint>;
	heartbeat(): Promise<boolean>;
	/** Runs a program in the guest through its agent. */
	run(program: string, args: string[], timeoutMs: number): Promise<GuestResult>;
	/** All that the serial console has said so far. */
	console(): Promise<string>;
	/** The screen as PNG. */
	screenshot(): Promise<Buffer>;
	/** Disks of the restore point itself, read only, not what the guest made of them. */
	disks: { name: string; size: number; open(): Promise<Image> }[];
	/** NBD URI of a disk of the restore point, read only, for programs in a sandbox. */
	diskUri(disk: string): Promise<string>;
	/** Reads every block of the point and compares with its identity; resolves with what is damaged, a line each. */
	checkBlocks(
		progress: (done: number, total: number) => void,
		/** ends it, besides the context's own */
		signal?: AbortSignal,
	): Promise<{ blocks: number; bytes: number; damaged: string[] }>;
	/** for scripts: SPRINGBACK_VM, SPRINGBACK_ADDRESS, … */
	environment(): Promise<Record<string, string>>;
	/** an empty folder of this test */
	directory: string;
	signal: AbortSignal;
	/** ms for the attempt that runs; set by `runTest` */
	timeoutMs?: number;
}

/** What came of one attempt. Failing is a result; a TestFailure thrown is the same. */
export interface TestOutcome {
	ok: boolean;
	/** one line */
	message: string;
	/** what it has seen: output of a program, head of an answer; cut to 64 KiB by the caller */
	output?: string;
	/** a figure for trends, such as ms or bytes */
	value?: { name: string; unit: string; amount: number };
	/** what a failure says of the VM; default: the kind's */
	fault?: Fault;
}

/** The guest or the point did not do what was expected: the message says what was seen, in one line. */
export class TestFailure extends Error {
	override readonly name = "TestFailure";
	constructor(
		message: string,
		/** what there was to see, and what it says of the VM; default: the kind's */
		readonly seen: { output?: string; fault?: Fault } = {},
	) {
		super(message);
	}
}

export interface TestKind {
	/** "ping", "tcp", "http", … */
	kind: string;
	/** one line for `--dry-run`, comments in plans, and the docs */
	summary: string;
	/** JSON schema (draft 2020-12) of the options: an object schema */
	schema: object;
	/** Defaults filled in. Throws PlanError-like Error with one line when options contradict each other. */
	options(given: Record<string, unknown>): Record<string, unknown>;
	/** what the test is called when the plan gives it no name: "TCP port 22" */
	title(options: Record<string, unknown>): string;
	/** ms, retries and ms between, unless the plan says otherwise */
	defaults: { timeoutMs: number; retries: number; retryMs: number };
	/** ports of the guest that it will ask for */
	ports(options: Record<string, unknown>): LabPort[];
	/** true: needs no guest that runs; such tests may run beside others, before the boot */
	offline?: boolean;
	/** what a failure says of the VM; default "service" */
	fault?: Fault;
	run(options: Record<string, unknown>, context: TestContext): Promise<TestOutcome>;
}
