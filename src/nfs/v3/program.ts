/** The NFSv3 program: its 22 procedures by number (RFC 1813 section 3.3). */
import type { FileSystem } from "../../vfs/vfs.js";
import { type AnyProcedure, nullProcedure, type Program } from "../rpc/program.js";
import { NFS_PROGRAM } from "../rpc/protocol.js";
import { access } from "./access.js";
import { commit } from "./commit.js";
import { NfsContext } from "./context.js";
import { create } from "./create.js";
import { fsinfo } from "./fsinfo.js";
import { fsstat } from "./fsstat.js";
import { getattr } from "./getattr.js";
import { link } from "./link.js";
import { lookup } from "./lookup.js";
import { mkdir } from "./mkdir.js";
import { mknod } from "./mknod.js";
import { pathconf } from "./pathconf.js";
import { read } from "./read.js";
import { readdir } from "./readdir.js";
import { readdirplus } from "./readdirplus.js";
import { readlink } from "./readlink.js";
import { remove } from "./remove.js";
import { rename } from "./rename.js";
import { rmdir } from "./rmdir.js";
import { setattr } from "./setattr.js";
import { symlink } from "./symlink.js";
import { write } from "./write.js";

const PROCEDURES: readonly AnyProcedure<NfsContext>[] = [
	nullProcedure,
	getattr,
	setattr,
	lookup,
	access,
	readlink,
	read,
	write,
	create,
	mkdir,
	symlink,
	mknod,
	remove,
	rmdir,
	rename,
	link,
	readdir,
	readdirplus,
	fsstat,
	fsinfo,
	pathconf,
	commit,
];

export const nfsProgram = (fileSystem: FileSystem): Program<NfsContext> => ({
	name: "NFS",
	number: NFS_PROGRAM,
	versions: new Map([[3, PROCEDURES]]),
	context: (call) => new NfsContext(call, fileSystem),
});
