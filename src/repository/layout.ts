/** Names of the files of a repository and the constants of docs/format.md. */

export const FORMAT_VERSION = 1;
export const CONFIG = "springback.json";
export const FOLDERS = ["packs", "index", "points", "condemned", "holds", "keys", "config", "locks", "tmp"] as const;
export const LOCK_REPOSITORY = "locks/repository";
export const LOCK_PINS = "locks/pins";

/** Bytes of `locks/repository` (docs/format.md, 10). */
export const LOCK_BYTE = { use: 0, prune: 1, merge: 2, keys: 3, points: 4, repair: 5 } as const;

export const TYPE = { block: 1, page: 2, object: 3 } as const;
export const CODEC = { raw: 0, lz4: 1, zstd: 2 } as const;
export const IDENTITY_BYTES = 32;
export const RECORD_HEADER_BYTES = 56;

/** A pack is closed when it reaches this many bytes. */
export const PACK_TARGET_BYTES = 64 * 1024 * 1024;
/** Largest pack that is valid. */
export const PACK_MAX_BYTES = 1024 * 1024 * 1024;
/** Plain bytes of one object record. */
export const OBJECT_MAX_BYTES = 1024 * 1024;
/** New records between two checkpoints of a running backup, and while others run that are not of its process. */
export const CHECKPOINT_RECORDS = 262_144;
export const CHECKPOINT_RECORDS_BESIDE = 4096;

export const BLOCK_SIZES = [65536, 131072, 262144, 524288, 1048576];
export const DEFAULT_BLOCK_SIZE = 65536;

/** Identity of an all-zero block or page. */
export const ZERO_IDENTITY = Buffer.alloc(IDENTITY_BYTES);

/** 32 lower-case hex digits: ids of packs, segments, points and the repository. */
export const isId = (text: string): boolean => /^[0-9a-f]{32}$/.test(text);
export const packName = (id: string): string => `packs/${id.slice(0, 2)}/${id}`;
export const segmentName = (id: string): string => `index/${id}`;
export const keyName = (id: string): string => `keys/${id}`;
export const pointName = (id: string): string => `points/${id}`;
/** The byte of `locks/pins` that stands for a point. */
export const pinByte = (point: string): number => Number.parseInt(point.slice(0, 12), 16);

/** Source of random bytes; tests inject their own. */
export type Random = (bytes: number) => Buffer;
/** A new id: 16 random bytes in hex. */
export const newId = (random: Random): string => random(16).toString("hex");

/** True when the identity at `offset` is that of an absent block or page. */
export const isAbsent = (bytes: Buffer, offset: number): boolean =>
	bytes.readUInt32LE(offset) === 0 && sameIdentity(bytes, offset, ZERO_IDENTITY, 0);

/** Whether two identities are equal. Buffer.compare is a call out of JavaScript, which costs more than the comparison. */
export const sameIdentity = (a: Buffer, aOffset: number, b: Buffer, bOffset: number): boolean => {
	for (let n = 0; n < IDENTITY_BYTES; n++) if (a[aOffset + n] !== b[bOffset + n]) return false;
	return true;
};
