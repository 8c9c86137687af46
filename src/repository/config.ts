/** `springback.json`: what makes a directory a repository (docs/format.md, 4). */
import { createHash } from "node:crypto";
import { DEFAULT_COMPRESSION, parseCompression } from "./compression.js";
import { RepositoryError } from "./contract.js";
import { BLOCK_SIZES, FORMAT_VERSION, isId } from "./layout.js";

export interface Config {
	version: number;
	/** 32 hex digits */
	id: string;
	/** UTC, seconds precision */
	created: string;
	/** bytes */
	blockSize: number;
	/** "none", "lz4", "zstd" or "zstd:LEVEL": of backups that say nothing else */
	compression: string;
	features: { compatible: string[]; readCompatible: string[]; incompatible: string[] };
}

/** Incompatible features (docs/format.md, 4) that this program knows. */
export const FEATURE = { encryption: "encryption", zstd: "zstd" } as const;

const CHECKSUM = /"checksum": "([0-9a-f]{64})"/;
const BLANK = "0".repeat(64);

const digest = (text: string): string =>
	createHash("sha256")
		.update(text.replace(CHECKSUM, `"checksum": "${BLANK}"`))
		.digest("hex");

/** The file's text, checksum included. */
export const encodeConfig = (config: Config): string => {
	const text = `${JSON.stringify({ format: "springback", ...config, checksum: BLANK }, null, "\t")}\n`;
	return text.replace(BLANK, digest(text));
};

const words = (value: unknown): value is string[] => Array.isArray(value) && value.every((w) => typeof w === "string");

/** Parses and verifies; throws RepositoryError DAMAGED, NEWER_FORMAT or NOT_A_REPOSITORY. `path` is for messages. */
export const decodeConfig = (text: string, path: string): Config => {
	const damaged = (why: string) =>
		new RepositoryError("DAMAGED", `${path}/springback.json is damaged (${why}): springback rebuild restores it`);
	let json: Record<string, unknown>;
	try {
		json = JSON.parse(text);
	} catch {
		throw damaged(text.trimEnd().endsWith("}") ? "not JSON" : "cut short");
	}
	if (json === null || typeof json !== "object" || json.format !== "springback")
		throw new RepositoryError(
			"NOT_A_REPOSITORY",
			`${path} is not a springback repository: its springback.json is of something else`,
		);
	if (typeof json.version === "number" && json.version > FORMAT_VERSION)
		throw new RepositoryError(
			"NEWER_FORMAT",
			`${path} has repository format ${json.version}, this program knows ${FORMAT_VERSION}: install a newer springback`,
		);
	if (CHECKSUM.exec(text)?.[1] !== digest(text)) throw damaged("checksum differs");
	const { version, id, created, blockSize, compression = DEFAULT_COMPRESSION } = json;
	const features = json.features as Config["features"];
	const valid =
		version === FORMAT_VERSION &&
		typeof id === "string" &&
		isId(id) &&
		typeof created === "string" &&
		typeof compression === "string" &&
		parseCompression(compression) !== undefined &&
		BLOCK_SIZES.includes(blockSize as number) &&
		words(features?.compatible) &&
		words(features.readCompatible) &&
		words(features.incompatible);
	if (!valid) throw damaged("a member is missing or wrong");
	const unknown = features.incompatible.filter((word) => !Object.hasOwn(FEATURE, word));
	if (unknown.length > 0)
		throw new RepositoryError(
			"NEWER_FORMAT",
			`${path} uses ${unknown.join(", ")}, which this program does not know: install a newer springback`,
		);
	return { version, id, created, blockSize: blockSize as number, compression, features };
};
