/** What the server serves: any Image under a name, and who may see which. */
import type { Image, WritableImage } from "../../image/image.js";
import { TransmissionFlag } from "../protocol.js";

/** A run of a block status reply: bytes, and the context's own flags. */
export interface StatusRun {
	length: number;
	flags: number;
}

/** Runs from `offset` on, at least one, covering at most `length`. */
export type StatusSource = (offset: number, length: number) => StatusRun[] | Promise<StatusRun[]>;

/** Metadata contexts of an export besides base:allocation ("Metadata querying"). */
export interface ExportContexts {
	/** full names, as NBD_OPT_LIST_META_CONTEXT shows them */
	names: readonly string[];
	/** undefined: there is no such context */
	find(name: string): StatusSource | undefined;
}

interface Common {
	/** for people, one line */
	description?: string;
	/** what one connection wrote, all others read, and a flush on one covers all (NBD_FLAG_CAN_MULTI_CONN) */
	multiConnection: boolean;
	/** bytes; smaller requests work and cost more. A power of two from 512 on */
	preferredBlock?: number;
	contexts?: ExportContexts;
	/** Called once, when the connection is done with it. The Image stays the owner's. */
	release?(): void;
}

/** An export as one connection has it. */
export type NbdExport = Common & ({ readOnly: true; image: Image } | { readOnly: false; image: WritableImage });

/** The exports, by what a peer may see. `Peer` is whatever the owner found out about the other end. */
export interface NbdExports<Peer> {
	/** may use any export: others get little, so that they leave room */
	knows(peer: Peer): boolean;
	/** names of what the peer may use */
	names(peer: Peer): string[];
	/** undefined: there is none of that name for this peer */
	open(peer: Peer, name: string): NbdExport | undefined | Promise<NbdExport | undefined>;
}

/** What a client is told of an export ("Transmission flags"). */
export function transmissionFlags(exported: NbdExport, structured: boolean): number {
	const flag = TransmissionFlag;
	let flags = flag.HAS_FLAGS | flag.SEND_FLUSH | flag.SEND_FUA | flag.SEND_CACHE;
	if (structured) flags |= flag.SEND_DF;
	if (exported.multiConnection) flags |= flag.CAN_MULTI_CONN;
	if (exported.readOnly) return flags | flag.READ_ONLY;
	flags |= flag.SEND_TRIM | flag.SEND_WRITE_ZEROES;
	return exported.image.zero ? flags | flag.SEND_FAST_ZERO : flags;
}
