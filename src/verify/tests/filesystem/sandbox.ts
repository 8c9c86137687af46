/**
 * Runs a checker on a volume so that it can harm nothing. It parses what a guest wrote, so it is not trusted:
 *
 * - It has user, mount, network, process and IPC namespaces of its own, as a user who owns nothing (when we are root),
 *   without capabilities, in a root directory that has the system's programs and libraries, read only, and nothing else.
 * - The volume is one file there. qemu-storage-daemon, in the same sandbox, makes it out of an NBD export of ours (FUSE).
 *   So the kernel never sees a file system or a partition in it, and only what the checker reads is read.
 * - What it writes goes to a `Scratch`. When we die, all of it dies, and the mounts with it.
 */
import { closeSync, constants, openSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { freeUserId } from "../../../backup/user-id.js";
import { NbdServer } from "../../../nbd/index.js";
import { findProgram, type ProgramResult, runProgram } from "../program.js";
import type { Scratch } from "./scratch.js";

/** Exit code of the script when it does not come to the checker. No checker has it. */
const NOT_READY = 99;
/** KiB of address space that a checker gets. */
const MEMORY_KIB = 8 * 1024 * 1024;
const START_SECONDS = 20;
/** Where the checker finds the volume. */
export const VOLUME = "/volume";

/** The sandbox could not be made: says nothing about the volume. One line with the remedy. */
export class SandboxError extends Error {
	override readonly name = "SandboxError";
}

/**
 * Its arguments are the checker and the checker's. File descriptor 3 is the NBD connection. Errors before the checker runs
 * end it with NOT_READY. All that it makes lies in a tmpfs of its own namespace, mounted over /tmp.
 */
const SCRIPT = `
root=/tmp/root
fail() { echo "sandbox: $*" >&2; exit ${NOT_READY}; }
{
	mount -t tmpfs -o mode=755,size=1m tmpfs /tmp &&
	mkdir "$root" "$root/dev" "$root/proc" "$root/tmp" "$root/etc" &&
	mount --rbind /proc "$root/proc"
} || fail "cannot be made"
for name in usr bin sbin lib lib32 lib64 libx32; do
	if [ -L "/$name" ]; then cp -P "/$name" "$root/$name" || fail "cannot copy /$name"
	elif [ -d "/$name" ]; then
		mkdir "$root/$name" && mount --rbind "/$name" "$root/$name" && mount -o remount,bind,ro "$root/$name" ||
			fail "cannot show /$name"
	fi
done
for name in null zero urandom fuse; do
	: >"$root/dev/$name" && mount --bind "/dev/$name" "$root/dev/$name" || fail "cannot show /dev/$name"
done
: >"$root${VOLUME}" && printf '[options]\\nbroken_system_clock = true\\n' >"$root/etc/e2fsck.conf" || fail "cannot be made"
chroot "$root" qemu-storage-daemon \\
	--blockdev driver=nbd,node-name=volume,server.type=fd,server.str=3,export=volume \\
	--export type=fuse,id=volume,node-name=volume,mountpoint=${VOLUME},writable=on,allow-other=off >/tmp/log 2>&1 &
server=$!
exec 3>&-
tries=0
until [ -s "$root${VOLUME}" ]; do
	kill -0 $server 2>/dev/null && [ $tries -lt ${START_SECONDS * 20} ] || fail "the volume does not appear: $(tail -n 1 /tmp/log)"
	tries=$((tries + 1))
	sleep 0.05
done
ulimit -v ${MEMORY_KIB}
ulimit -c 0
chroot "$root" setpriv --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"
code=$?
[ $code -ne ${NOT_READY} ] || code=98
exit $code
`;

/**
 * `command`: name of the checker, and its arguments. `directory`: of ours; nothing is left in it. Rejects with SandboxError.
 */
export const inSandbox = async (
	volume: Scratch,
	command: string[],
	directory: string,
	signal: AbortSignal,
): Promise<ProgramResult> => {
	for (const [name, hint] of Object.entries(NEEDED))
		if (findProgram([name]) === undefined) throw new SandboxError(`${name} is not installed (package ${hint})`);
	const uid = process.getuid?.() === 0 ? freeUserId() : undefined;
	const server = new NbdServer({
		exports: {
			knows: () => true,
			names: () => ["volume"],
			open: (_peer, name) =>
				name === "volume"
					? { readOnly: false, image: volume, multiConnection: false, preferredBlock: 4096 }
					: undefined,
		},
		identify: () => ({ address: "sandbox" }),
		log: () => {},
	});
	// Through a descriptor: the path of a socket has 107 bytes at most (unix(7)).
	const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
	const path = `/proc/self/fd/${fd}/nbd`;
	try {
		await server.listenUnix(path);
		const result = await runProgram({
			program: "setpriv",
			args: [...confined(uid), ...NAMESPACES, "/bin/sh", "-c", SCRIPT, "sandbox", ...command],
			env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C", E2FSCK_CONFIG: "/etc/e2fsck.conf" },
			cwd: "/",
			signal,
			channel: await connected(path),
			// The first process of a namespace is deaf to SIGTERM, and there is nothing to tidy up.
			graceMs: 0,
		});
		const words = result.output.trim().split("\n").at(-1) ?? "";
		if (!result.interrupted && (result.code === NOT_READY || /^(?:unshare|setpriv): /.test(words)))
			throw new SandboxError(`${words.replace(/^sandbox: /, "the sandbox ")} (it needs user namespaces and /dev/fuse)`);
		return result;
	} finally {
		await server.close();
		rmSync(path, { force: true });
		closeSync(fd);
	}
};

const connected = (path: string): Promise<Socket> =>
	new Promise((resolve, reject) => {
		const socket = connect(path);
		// What the server greets with is for the one who gets the descriptor.
		socket.pause();
		socket.once("error", reject);
		socket.once("connect", () => resolve(socket));
	});

const NEEDED: Readonly<Record<string, string>> = {
	setpriv: "util-linux",
	unshare: "util-linux",
	"qemu-storage-daemon": "qemu-system-common",
};

const confined = (uid: number | undefined): string[] => [
	"--no-new-privs",
	"--pdeathsig",
	"KILL",
	...(uid === undefined ? [] : ["--reuid", `${uid}`, "--regid", `${uid}`, "--clear-groups"]),
];

const NAMESPACES = [
	"unshare",
	"--user",
	"--map-root-user",
	...["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"],
];
