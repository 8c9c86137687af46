/** The state's id: random, made once; whose settings an object in a repository is. */
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { readFileWhole, replaceFileDurably } from "../../native/durable-file.js";
import { codeOf } from "./errors.js";

/** Undefined where there is none, or what is there is none. */
export const readStateId = (path: string): string | undefined => {
	try {
		return /^([0-9a-f]{32})\n$/.exec(readFileWhole(path).toString("latin1"))?.[1];
	} catch (error) {
		if (codeOf(error) === "ENOENT") return undefined;
		throw error;
	}
};

export const writeStateId = (path: string, id: string): string => {
	mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
	replaceFileDurably(path, Buffer.from(`${id}\n`));
	return id;
};

export const newStateId = (path: string): string => writeStateId(path, randomBytes(16).toString("hex"));
