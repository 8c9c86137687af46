/** What `--compression` says: "none", "lz4", "zstd" or "zstd:LEVEL". */
import { CODEC } from "./layout.js";

export interface Compression {
	codec: number;
	/** zstd's: 1 (quick) to 19 (small) */
	level: number;
}

/** Also the compression of repositories made before they recorded one. */
export const DEFAULT_COMPRESSION = "lz4";
const ZSTD_LEVEL = 3;
const ZSTD_MAX_LEVEL = 19;

/** Undefined when the text is none of them. */
export const parseCompression = (text: string): Compression | undefined => {
	if (text === "none") return { codec: CODEC.raw, level: ZSTD_LEVEL };
	if (text === "lz4") return { codec: CODEC.lz4, level: ZSTD_LEVEL };
	const match = /^zstd(?::([1-9]\d?))?$/.exec(text);
	const level = Number(match?.[1] ?? ZSTD_LEVEL);
	return match === null || level > ZSTD_MAX_LEVEL ? undefined : { codec: CODEC.zstd, level };
};
