/**
 * A moment of all disks, kept readable while the guest goes on: libvirt's backup in pull mode, with a checkpoint that
 * begins at the same moment.
 */
import { randomBytes } from "node:crypto";
import type { Snapshot, SnapshotOptions } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { type BackupDisk, backupXml, checkpointXml } from "./backup-xml.js";
import {
	changeIdOf,
	descriptionOf,
	type Known,
	knownSince,
	nextCheckpoint,
	ourCheckpoints,
	RAW,
} from "./checkpoints.js";
import { cleanDomain } from "./clean-up.js";
import { type Described, type Domain, definitionOf, described, diskSizes, stateOf } from "./domain.js";
import { makeFolder } from "./folder.js";
import { atRest, type OwedThaw, type Rest } from "./freeze.js";
import { refuseBusy } from "./jobs.js";
import { type Lock, lockDomain } from "./lock.js";
import { type RunNote, writeNote } from "./notes.js";
import { powerOnPaused } from "./power.js";
import { removeSnapshot } from "./remove-snapshot.js";
import { withFiles } from "./with-files.js";

const FREEZE_MS = 10_000;
/** What `backup-begin` gets while the guest stands still. */
const BEGIN_MS = 20_000;

/** What a driver remembers of a snapshot that it has. */
export interface OpenSnapshot {
	domain: Domain;
	lock: Lock;
	note: RunNote;
	disks: BackupDisk[];
	/** the change id that `disks` know their changes since */
	since: string | undefined;
	opened: Set<string>;
	owed: OwedThaw | null;
	closed: boolean;
}

export const snapshot = async (
	domain: Domain,
	options: SnapshotOptions,
): Promise<{ snapshot: Snapshot; open: OpenSnapshot }> => {
	if (!domain.host.uri.local)
		throw new HypervisorError(
			"UNSUPPORTED",
			`VM ${domain.name}: disks are read over a UNIX socket: run springback on the host itself, with qemu:///system`,
		);
	const lock = lockDomain(domain);
	const open: OpenSnapshot = {
		domain,
		lock,
		note: {},
		disks: [],
		since: undefined,
		opened: new Set(),
		owed: null,
		closed: false,
	};
	try {
		await cleanDomain(domain);
		return { open, snapshot: await take(open, options) };
	} catch (error) {
		await removeSnapshot(open, true).catch(() => {});
		if (error instanceof HypervisorError && /^VM /.test(error.message)) throw error;
		const code = error instanceof HypervisorError ? error.code : "FAILED";
		throw new HypervisorError(code, `VM ${domain.name}: no snapshot: ${causeOf(error)}`, { cause: error });
	}
};

const take = async (open: OpenSnapshot, options: SnapshotOptions): Promise<Snapshot> => {
	const { domain } = open;
	await refuseBusy(domain);
	const off = (await stateOf(domain)) === "off";
	if (off) {
		await note(open, { started: "yes" });
		await powerOnPaused(domain);
	}
	const xml = await definitionOf(domain, "now");
	const sizes = await diskSizes(domain);
	const left: Snapshot["left"] = [];
	const taken = new Map<string, number>();
	const all = described(domain, xml).disks;
	for (const { name, target, unprotected } of all) {
		const size = sizes.get(target);
		if (unprotected === null && size !== undefined) taken.set(target, size);
		else left.push({ name, why: unprotected ?? "libvirt does not tell its size" });
	}
	if (taken.size === 0) throw new HypervisorError("UNSUPPORTED", `VM ${domain.name} has no disk that can be backed up`);
	const ours = await ourCheckpoints(domain);
	const name = nextCheckpoint(ours, randomBytes(4).toString("hex"));
	const last = ours.at(-1);
	open.since = options.since ?? (last === undefined ? undefined : changeIdOf(last));
	open.disks = await backupDisks(domain, all, taken, open.since);
	await note(open, { folder: makeFolder(xml, options.scratch), checkpoint: name });
	const moment = () =>
		begin(
			open,
			name,
			descriptionOf(taken),
			all.flatMap(({ target }) => (taken.has(target) ? [] : [target])),
		);
	let rest: Rest = { consistency: "crash", why: null, frozenMs: 0 };
	if (options.quiesce === true && !off) {
		await note(open, { frozen: "yes" });
		const reached = await atRest(domain, options.freezeMs ?? FREEZE_MS, moment);
		rest = reached.rest;
		open.owed = reached.owed;
		if (open.owed === null) await note(open, { frozen: undefined });
	} else await moment();
	return {
		vm: domain.id,
		changeId: changeIdOf(name),
		...rest,
		disks: open.disks.map(({ name, target }) => ({ name, size: taken.get(target)! })),
		left,
	};
};

const note = async (open: OpenSnapshot, more: RunNote): Promise<void> => {
	open.note = { ...open.note, ...more };
	await writeNote(open.domain, open.note);
};

const backupDisks = async (
	domain: Domain,
	all: Described["disks"],
	taken: Map<string, number>,
	since: string | undefined,
): Promise<BackupDisk[]> => {
	const known = since === undefined ? undefined : await knownSince(domain, since, taken);
	return all
		.filter(({ target }) => taken.has(target))
		.map(({ name, target, format }) => {
			const tracks = format === "qcow2";
			const none: Known = { why: tracks ? "it is the first backup" : RAW };
			return { name, target, tracks, known: tracks ? (known?.get(target) ?? none) : none };
		});
};

/**
 * Begins backup and checkpoint. libvirt finds out only here that a bitmap is damaged, or that an image is too old for
 * one: then without the old ones, and at last without a new one.
 */
const begin = async (open: OpenSnapshot, name: string, description: string, left: string[]): Promise<void> => {
	const attempt = async () => {
		const { domain, disks, note } = open;
		const backup = backupXml(note.folder!, disks, left);
		const checkpoint = disks.some(({ tracks }) => tracks) ? checkpointXml(name, description, disks, left) : undefined;
		await beginBackup(domain, backup, checkpoint);
	};
	try {
		return await attempt();
	} catch (error) {
		if (!/bitmap|checkpoint/i.test(causeOf(error))) throw error;
		const why = `libvirt cannot use its record of what changed (${causeOf(error).replace(/^libvirt: /, "")})`;
		if (!open.disks.some(({ known }) => "checkpoint" in known)) return withoutCheckpoint(open, error, attempt);
		open.disks = open.disks.map((disk) => ("checkpoint" in disk.known ? { ...disk, known: { why } } : disk));
	}
	try {
		await attempt();
	} catch (error) {
		if (!/bitmap|checkpoint/i.test(causeOf(error))) throw error;
		await withoutCheckpoint(open, error, attempt);
	}
};

const withoutCheckpoint = async (open: OpenSnapshot, error: unknown, attempt: () => Promise<void>): Promise<void> => {
	const why = `libvirt can begin no record of changes (${causeOf(error).replace(/^libvirt: /, "")})`;
	open.disks = open.disks.map((disk) => ({ ...disk, tracks: false, known: { why } }));
	await attempt();
};

const beginBackup = (domain: Domain, backup: string, checkpoint: string | undefined): Promise<string> =>
	withFiles(checkpoint === undefined ? [backup] : [backup, checkpoint], (paths) =>
		domain.host.virsh.call(["backup-begin", domain.id, ...paths], { ms: BEGIN_MS }),
	);
