/** What the flows of this room are given: a host, the mount process, the notes, someone who listens. */
import type { Hypervisor } from "../hypervisor/index.js";
import type { Records } from "./records.js";

export interface NamedHost {
	name: string;
	type: string;
	uri: string;
	/** Connects, once. Rejects when it cannot be reached. */
	open(): Promise<Hypervisor>;
}

/** A session, as the mount process or its files tell of it. */
export interface SessionState {
	session: string;
	state: "open" | "parked" | "trash" | "failed";
	vm: string;
	point: string;
	/** UTC */
	created: string;
	/** bytes; null: not known */
	written: number | null;
	/** UTC; null: nothing was written */
	lastWrite: string | null;
}

export interface PublishOptions {
	/** our address; default: loopback */
	listen: string | null;
	/** existing directory that takes what is written */
	redirect: string | null;
	/** uid that may connect over loopback, besides root; null: ours, over a UNIX socket */
	diskUser: number | null;
}

export interface Published {
	/** URIs by disk, each of which shows the same content */
	disks: { disk: string; uris: string[] }[];
}

/** How a session ends. `moved`: its content is elsewhere, proven; nothing is kept. `unwritten`: only one that holds nothing. */
export type SessionEnd = "keep" | "discard" | "moved" | "unwritten";

export interface EndedSession {
	outcome: "parked" | "trash" | "removed";
	/** bytes */
	written: number;
	lastWrite: string | null;
	created: string;
}

/** The mount process, started when it is needed. It outlives us. */
export interface Serving {
	/** Those that exist, the trash left out. */
	sessions(): Promise<SessionState[]>;
	/** Makes the session, or continues it. */
	publish(session: string, spec: string, options: PublishOptions): Promise<Published>;
	end(session: string, how: SessionEnd): Promise<EndedSession>;
	/** the directory whose file system takes what is written */
	place: string;
}

export interface World {
	serving: Serving;
	records: Records;
	/** by name; throws when there is none */
	host(name: string): NamedHost;
	/** all that are known */
	hosts: NamedHost[];
	/** one line for a person */
	say(line: string): void;
	signal: AbortSignal;
	now(): Date;
}
