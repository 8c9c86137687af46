/**
 * What NBD clients see. `SESSION/DISK` is a disk of a session as it is now, `SESSION/DISK@point` the restore point below
 * it, `SESSION/DISK@VIEW` a frozen view: of all disks of the session at one moment, made for the first who asks for that name,
 * and kept while somebody uses one of them.
 */
import type { Datastore, ServedSession } from "../../datastore/datastore.js";
import type { Extent } from "../../image/image.js";
import type { NbdExport, NbdExports } from "../../nbd/index.js";
import { admits, admitsFrom } from "../../nfs/access/admission.js";
import type { Peer } from "../../nfs/access/peer.js";
import type { EpochSnapshot, InodeId } from "../../overlay/index.js";
import { nameFromText } from "../../vfs/vfs.js";
import type { OpenSession } from "../serving.js";
import { changeContexts } from "./changes.js";
import { type Owner, ServedDisk, ServedImage } from "./served-image.js";
import { SessionDisk } from "./session-disk.js";

/** The other end: over TCP it is somebody, over the Unix socket its owner or root. */
export interface NbdClient {
	address: string;
	tcp?: Peer;
}

const NAME = /^([^/@]+)\/([^/@]+)(?:@([A-Za-z0-9._-]{1,64}))?$/;
const POINT = "point";
/** Frozen views that may exist at a time: each keeps what was overwritten since. */
const MAX_VIEWS = 64;

interface View {
	/** by file; a disk whose file was gone is not there */
	snapshots: Promise<Map<InodeId, EpochSnapshot>>;
	users: number;
}

/** A disk that is served. */
interface Disk {
	open: OpenSession;
	name: string;
	/** in the order of the restore point's disks */
	index: number;
	owner: Owner;
}

export class SessionExports implements NbdExports<NbdClient> {
	readonly #views = new Map<string, View>();
	/** connections that use a session */
	readonly #users = new Map<ServedSession, number>();

	/** @param sessions those that are served */
	constructor(
		private readonly datastore: Datastore,
		private readonly sessions: () => OpenSession[],
		private readonly log: (line: string) => void,
	) {}

	knows({ tcp }: NbdClient): boolean {
		return tcp === undefined || this.sessions().some(({ served }) => admitsFrom(tcp, entryOf(served)));
	}

	names(client: NbdClient): string[] {
		const admitted = this.sessions().filter(({ served }) => mayUse(client, served));
		return admitted.flatMap(({ record }) => record.disks.map(({ name }) => `${record.name}/${name}`));
	}

	/** A client is connected that uses something of this session. */
	inUse(session: ServedSession): boolean {
		return (this.#users.get(session) ?? 0) > 0;
	}

	async open(client: NbdClient, name: string): Promise<NbdExport | undefined> {
		const [, session, diskName, view] = NAME.exec(name) ?? [];
		const open = this.sessions().find(({ record }) => record.name === session);
		if (!open || !mayUse(client, open.served)) return undefined;
		const { served, record } = open;
		const index = record.disks.findIndex((disk) => disk.name === diskName);
		if (index < 0) return undefined;
		const owner = {
			isServed: () => this.datastore.isServed(served),
			log: (line: string) => this.log(`session ${record.name}, ${name} over NBD: ${line}`),
		};
		const disk = { open, name: diskName, index, owner };
		const exported = await (view === undefined ? live(disk) : view === POINT ? below(disk) : this.#view(disk, view));
		return exported && this.#counted(exported, served);
	}

	#counted(exported: NbdExport, session: ServedSession): NbdExport {
		this.#users.set(session, (this.#users.get(session) ?? 0) + 1);
		const release = (): void => {
			const left = this.#users.get(session)! - 1;
			if (left > 0) this.#users.set(session, left);
			else this.#users.delete(session);
			exported.release?.();
		};
		return { ...exported, release };
	}

	async #view(disk: Disk, name: string): Promise<NbdExport | undefined> {
		const { open } = disk;
		const id = fileOf(disk);
		if (id === undefined) return undefined;
		const key = `${open.served.uuid.toString("hex")} ${name}`;
		let view = this.#views.get(key);
		if (!view) {
			if (this.#views.size >= MAX_VIEWS) throw new Error(`there are ${MAX_VIEWS} frozen views already`);
			view = { snapshots: freeze(open), users: 0 };
			this.#views.set(key, view);
		}
		const { snapshots } = view;
		view.users++;
		const release = (): void => {
			if (--view.users > 0) return;
			this.#views.delete(key);
			snapshots.then((all) => Promise.all([...all.values()].map((one) => one.release()))).catch(() => undefined);
		};
		try {
			const snapshot = (await snapshots).get(id);
			if (snapshot === undefined) {
				release();
				return undefined;
			}
			const { image: frozen, epoch, changes } = snapshot;
			const image = new ServedImage(frozen, disk.owner);
			return {
				image,
				readOnly: true,
				multiConnection: true,
				contexts: changeContexts((since, offset, length) =>
					image.guard("block status", offset, length, () => changes(since, offset, length)),
				),
				description: `${describe(disk)}, frozen at epoch ${epoch}`,
				release,
			};
		} catch (error) {
			release();
			throw error;
		}
	}
}

/** The disk as it is now. */
function live(disk: Disk): NbdExport | undefined {
	const { served } = disk.open;
	const id = fileOf(disk);
	if (id === undefined) return undefined;
	const size = served.tree.inode(id)!.size;
	const image = new ServedDisk(new SessionDisk(served, id, size), disk.owner, disk.open.nbd);
	const contexts = changeContexts((epoch, offset, length) =>
		image.guard("block status", offset, length, () => served.tree.changes(id, epoch, offset, length)),
	);
	const { readOnly } = served;
	return { image, readOnly, multiConnection: true, contexts, description: describe(disk) };
}

/** The restore point, as it was backed up. */
function below(disk: Disk): NbdExport {
	const image = new ServedImage(disk.open.images[disk.index], disk.owner);
	const nothing = (): Extent[] => [];
	return {
		image,
		readOnly: true,
		multiConnection: true,
		contexts: changeContexts(nothing),
		description: `${describe(disk)}, as it was backed up`,
	};
}

/** All disks of a session at one moment. */
async function freeze(open: OpenSession): Promise<Map<InodeId, EpochSnapshot>> {
	const ids = open.record.disks.flatMap(({ name }) => fileOf({ open, name }) ?? []);
	const snapshots = await open.served.tree.snapshots(ids);
	return new Map(ids.map((id, n) => [id, snapshots[n]]));
}

/** The overlay's file; undefined when a client has removed or renamed it. */
function fileOf({ open, name }: Pick<Disk, "open" | "name">): InodeId | undefined {
	const { tree } = open.served;
	const id = tree.lookup(tree.root, nameFromText(`${name}-flat.vmdk`));
	return id !== undefined && tree.inode(id)?.kind === "file" ? id : undefined;
}

const describe = ({ open, name }: Disk): string =>
	`${open.record.vm}@${open.record.point.slice(0, 8)} ${name}, session ${open.record.uuid}`;

/** Over TCP the rules are those of the session's NFS export. */
const mayUse = ({ tcp }: NbdClient, served: ServedSession): boolean =>
	tcp === undefined || admits(tcp, entryOf(served));

const entryOf = ({ name, clients, readOnly, privilegedPorts, ownerUid }: ServedSession) => ({
	path: `/springback/${name}`,
	...{ clients, readOnly, privilegedPorts, ownerUid },
});
