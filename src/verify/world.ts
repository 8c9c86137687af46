/** What a run is given: a host, the mount process, labs, tests, notes, a clock, somebody who listens. */
import type { Lab, LabRequest } from "../lab/contract.js";
import type { NamedHost, Published, PublishOptions } from "../recovery/index.js";
import type { Repository } from "../repository/index.js";
import type { RunReport, TestReport, VmResult } from "./model.js";
import type { Notes } from "./notes.js";
import type { TestContext, TestKind, TestSpec } from "./tests/contract.js";

/** Of a session's disks, since it is served. */
export interface Counts {
	bytesRead: number;
	failures: number;
	/** UTC; null: none yet */
	firstRead: string | null;
	firstReadBeyondSector: string | null;
}

/** The mount process, started when it is needed. */
export interface LabServing {
	publish(session: string, spec: string, options: PublishOptions): Promise<Published>;
	/** Undefined when it is not served. */
	counts(session: string): Promise<Counts | undefined>;
	/** Ends a session and keeps nothing of it. Harmless when there is none. */
	drop(session: string): Promise<void>;
}

/** What somebody who watches is told. */
export type VerifyEvent =
	| { what: "started"; vm: string; point: string; time: string }
	| { what: "step"; vm: string; step: string }
	| { what: "test"; vm: string; test: TestReport }
	| { what: "done"; vm: string; result: VmResult; summary: string };

export interface VerifyWorld {
	repository: Repository;
	host: NamedHost;
	serving: LabServing;
	openLab(request: LabRequest): Promise<Lab>;
	/** Takes away labs that crashed runs left; `alive` tells which are of a run that lives. One line for each. */
	cleanLabs(directory: string, alive: (id: string) => boolean): Promise<string[]>;
	kindOf(kind: string): TestKind | undefined;
	runTest(spec: TestSpec, context: TestContext, elapsed: () => number): Promise<TestReport>;
	notes: Notes;
	/** folder of ours: what labs note, and the folders of tests */
	directory: string;
	/** ids of points that an earlier run has judged */
	verified(): Promise<Set<string>>;
	/** 0 … limit - 1 */
	random(limit: number): number;
	now(): Date;
	/** one line for a person */
	say(line: string): void;
	event(event: VerifyEvent): void;
	signal: AbortSignal;
	by: RunReport["by"];
	springback: string;
	/** as the report names it */
	repositoryPath: string;
}
