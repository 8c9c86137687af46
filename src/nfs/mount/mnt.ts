/**
 * MNT, RFC 1813 section 5.2.1. Version 1 has handles of exactly 32 bytes for NFSv2, which is not served: old
 * clients get the error and come again with version 3.
 */
import { isFailed } from "../../vfs/failed.js";
import type { DirectoryNode, Failed, Maybe, Status } from "../../vfs/vfs.js";
import type { Procedure } from "../rpc/program.js";
import { AUTH_SYS } from "../rpc/protocol.js";
import type { MountContext } from "./context.js";
import { directoryAt, exportOf, normalizePath } from "./path.js";

/** mountstat3 */
const OK = 0;
const NOENT = 2;
const IO = 5;
const ACCES = 13;
const NOTDIR = 20;
const NAMETOOLONG = 63;
const SERVERFAULT = 10006;

const NUMBERS: Partial<Record<Status, number>> = { NOENT, IO, ACCES, NOTDIR, NAMETOOLONG };
const NAME_MAX = 255;
/** MNTPATHLEN */
export const PATH_MAX = 1024;

type Result = { status: number; handle?: Buffer };

export const mnt: Procedure<MountContext, Result> = {
	name: "MNT",
	run(context, args): Maybe<Result> {
		const path = normalizePath(args.string(PATH_MAX));
		if (context.version < 3) return { status: ACCES };
		const { fileSystem, mounts, peer } = context;
		const entry = exportOf(fileSystem, path);
		// Who may mount nothing at all does not learn what exists.
		if (entry === undefined) return { status: context.visible().length > 0 ? NOENT : ACCES };
		if (!context.admits(entry)) return { status: ACCES };
		if (path.split("/").some((part) => part.length > NAME_MAX)) return { status: NAMETOOLONG };
		const finish = (root: DirectoryNode | Failed): Result => {
			if (isFailed(root)) return { status: NUMBERS[root.status] ?? SERVERFAULT };
			mounts.add({ address: peer.address, path, entry });
			return { status: OK, handle: root.handle };
		};
		const root = directoryAt(fileSystem, entry, path);
		return root instanceof Promise ? root.then(finish) : finish(root);
	},
	encode(reply, { status, handle }) {
		reply.u32(status);
		if (handle === undefined) return;
		reply.opaque(handle);
		reply.u32(1);
		reply.u32(AUTH_SYS);
	},
	fault: { status: SERVERFAULT },
	failed: (result) => result.status !== OK,
};
