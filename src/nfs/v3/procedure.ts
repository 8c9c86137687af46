/** The frame of an NFSv3 procedure: status first, then the result that belongs to success or failure. */

import { isFailed } from "../../vfs/failed.js";
import type { Attributes, Change, Failed, Maybe, Node, Status } from "../../vfs/vfs.js";
import { NAME_MAX } from "../../vfs/vfs.js";
import type { Procedure, ReplyBody } from "../rpc/program.js";
import type { XdrReader } from "../xdr/reader.js";
import { encodeChange, encodePostOp } from "./attributes.js";
import type { NfsContext } from "./context.js";
import { type NfsStatus, statusNumber } from "./status.js";

/** A failure with what its reply can still tell about the object. */
export interface Failure {
	status: NfsStatus;
	change?: Change;
	attributes?: Attributes;
}

export interface Definition<R extends { status: "OK" }> {
	name: string;
	/** not idempotent */
	once?: boolean;
	run(context: NfsContext, args: XdrReader): Maybe<R | Failure>;
	ok(reply: ReplyBody, result: R): void;
	failed(reply: ReplyBody, failure: Failure): void;
}

/** Failures that may pass: a replay tries again. */
const PASSING: ReadonlySet<NfsStatus | "OK"> = new Set(["IO", "NOSPC", "DQUOT", "JUKEBOX", "SERVERFAULT"]);

export function define<R extends { status: "OK" }>(definition: Definition<R>): Procedure<NfsContext, R | Failure> {
	return {
		name: definition.name,
		once: definition.once,
		run: definition.run,
		encode(reply, result) {
			reply.u32(statusNumber(result.status));
			if (result.status === "OK") definition.ok(reply, result as R);
			else definition.failed(reply, result as Failure);
		},
		fault: { status: "SERVERFAULT" },
		failed: (result) => result.status !== "OK",
		lasting: (result) => !PASSING.has(result.status),
	};
}

/** Failure bodies: none, post_op_attr, wcc_data. */
export const nothing = (): void => {};
export const attributesOnly = (reply: ReplyBody, failure: Failure): void => encodePostOp(reply, failure.attributes);
export const changeOnly = (reply: ReplyBody, failure: Failure): void => encodeChange(reply, failure.change);

/** Applies `next` now or when the promise settles. */
export function then<T, R>(value: Maybe<T>, next: (value: T) => R): Maybe<R> {
	return value instanceof Promise ? value.then(next) : next(value);
}

/** Gives a failure the attributes of `node` as they are now. */
export const failWith = (node: Node, failed: Failure): Failure => ({
	status: failed.status,
	attributes: failed.change?.after ?? node.attributes(),
});

/** Gives a failed change of `node` its attributes as they are now, unless the file system told its own. */
export const unchanged = (node: Node, failed: Failure): Failure => ({
	status: failed.status,
	change: failed.change ?? { after: node.attributes() },
});

/** A change of `node` that failed gets wcc_data, too. */
export function settle<R extends { status: "OK" }>(node: Node, result: Maybe<R | Failed>): Maybe<R | Failure> {
	return then(result, (settled) => (isFailed(settled) ? unchanged(node, settled) : settled));
}

/** Names are any bytes but "/" and NUL, 1 to 255 of them. */
export function wrongName(name: string): Status | undefined {
	if (name.length > NAME_MAX) return "NAMETOOLONG";
	if (name.length === 0 || name.includes("/") || name.includes("\0")) return "INVAL";
	return undefined;
}

/** Of a name that is to be made. */
export function wrongNewName(name: string): Status | undefined {
	return name === "." || name === ".." ? "EXIST" : wrongName(name);
}

/** Of a name that is to be removed or moved. */
export function wrongOldName(name: string): Status | undefined {
	return name === "." || name === ".." ? "INVAL" : wrongName(name);
}

/** filename3 has no limit of its own: too long a name is an error of the file system, not of the encoding. */
export const ANY_LENGTH = 0xffff_ffff;
