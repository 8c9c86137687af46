/** What CREATE, MKDIR, SYMLINK and MKNOD answer: the new object, and how its directory changed. */
import type { Attributes, Change, DirectoryNode, Failed, Made, Maybe, Node, Replayed } from "../../vfs/vfs.js";
import type { ReplyBody } from "../rpc/program.js";
import { encodeChange, encodePostOp } from "./attributes.js";
import { type Failure, settle } from "./procedure.js";

export interface MadeReply {
	status: "OK";
	/** absent when a replay finds it gone again */
	node?: Node;
	attributes?: Attributes;
	change: Change;
}

/** Success again for a request that was carried out before a restart. */
export const madeBefore = (directory: DirectoryNode, replayed: Replayed): MadeReply => ({
	status: "OK",
	node: replayed.node,
	attributes: replayed.node?.attributes(),
	change: { after: directory.attributes() },
});

export const made = (directory: DirectoryNode, result: Maybe<Made | Failed>): Maybe<MadeReply | Failure> =>
	settle<Made>(directory, result);

export function encodeMade(reply: ReplyBody, result: MadeReply): void {
	reply.bool(result.node !== undefined);
	if (result.node !== undefined) reply.opaque(result.node.handle);
	encodePostOp(reply, result.attributes);
	encodeChange(reply, result.change);
}
