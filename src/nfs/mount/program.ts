/**
 * The MOUNT program (RFC 1813 section 5.2; versions 1 and 2: RFC 1094 appendix A). All versions share the
 * procedures; only MNT differs.
 */
import type { FileSystem } from "../../vfs/vfs.js";
import { type AnyProcedure, nullProcedure, type Program } from "../rpc/program.js";
import { MOUNT_PROGRAM } from "../rpc/protocol.js";
import { MountContext, MountList } from "./context.js";
import { dump } from "./dump.js";
import { exports } from "./export.js";
import { mnt } from "./mnt.js";
import { umnt } from "./umnt.js";
import { umntall } from "./umntall.js";

const PROCEDURES: readonly AnyProcedure<MountContext>[] = [nullProcedure, mnt, dump, umnt, umntall, exports];

export function mountProgram(fileSystem: FileSystem): Program<MountContext> {
	const mounts = new MountList();
	return {
		name: "MOUNT",
		number: MOUNT_PROGRAM,
		versions: new Map([1, 2, 3].map((version) => [version, PROCEDURES])),
		context: (call) => new MountContext(call, fileSystem, mounts),
	};
}
