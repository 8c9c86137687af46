/**
 * Foreign formats through QEMU's block layer, which reads untrusted bytes and therefore gets nothing else:
 *
 * - It runs under a user id that owns nothing (when we are root), with no new privileges, QEMU's seccomp filter
 *   (no processes, no privileges), no devices, no guest.
 * - It opens no path. Files come as descriptors we opened (`-add-fd`, /dev/fdset/N), every node of the chain
 *   is given explicitly, and `backing` is never left to the image.
 * - It serves NBD on a socket in a folder of its own, removed as soon as we are connected.
 * - The kernel kills it when we die (PR_SET_PDEATHSIG), however we die.
 *
 * `qemu-system-* -machine none` is used because qemu-nbd and qemu-storage-daemon (7.2) take no descriptors.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, chownSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createLane, sys } from "../../native/index.js";
import type { Image } from "../image/index.js";
import type { NbdImage } from "../nbd/index.js";
import type { BlockNode } from "./block-tree.js";
import { SourceError } from "./errors.js";
import { QemuImage } from "./qemu-image.js";
import { Qmp } from "./qmp.js";
import type { SourceFile, SourceFiles } from "./source-files.js";
import { freeUserId } from "./user-id.js";

const START_MS = 30_000;
const FIRST_FD = 3;
const ARCHITECTURES: Readonly<Record<string, string>> = {
	x64: "x86_64",
	arm64: "aarch64",
	ppc64: "ppc64",
	s390x: "s390x",
};

/** Starts QEMU on `node` and opens its top as an Image. Throws SourceError. Closing the Image ends QEMU. */
export async function openWithQemu(files: SourceFiles, node: BlockNode, signal?: AbortSignal): Promise<Image> {
	const binary = findQemu();
	await checkTree(node);
	const directory = mkdtempSync(join(tmpdir(), "springback-"));
	const uid = process.getuid?.() === 0 ? freeUserId() : undefined;
	const plan = planNodes(node, directory);
	let child: ChildProcess | undefined;
	try {
		if (uid !== undefined) chownSync(directory, uid, uid);
		child = start(binary, plan.fds, uid);
		const running = child;
		const stop = () => running.kill("SIGKILL");
		signal?.addEventListener("abort", stop, { once: true });
		const timer = setTimeout(stop, START_MS);
		try {
			const image = await bringUp(child, plan.nodes, join(directory, "nbd"));
			// Kept open for as long as QEMU reads: to see whether a file shrinks under it.
			const kept = filesOf(node).map((file) => files.release(file));
			return new QemuImage(image, child, kept);
		} finally {
			clearTimeout(timer);
			signal?.removeEventListener("abort", stop);
		}
	} catch (error) {
		child?.kill("SIGKILL");
		if (signal?.aborted) throw new SourceError("INTERRUPTED", "the backup was interrupted");
		throw new SourceError("SOURCE", `${files.top.path}: QEMU cannot open it: ${inWords(error)}`, { cause: error });
	} finally {
		for (const fd of plan.owned) sys.close(fd);
		files.close();
		rmSync(directory, { recursive: true, force: true });
	}
}

async function checkTree(top: BlockNode): Promise<void> {
	const lane = createLane("source-check", 1);
	try {
		for (let node: BlockNode | undefined = top; node; node = node.backing) await node.check?.(lane);
	} finally {
		await lane.close();
	}
}

function filesOf({ file, dataFile, extents, backing }: BlockNode): SourceFile[] {
	const own = [...("text" in file ? [] : [file]), ...(dataFile ? [dataFile] : []), ...(extents ?? [])];
	return backing ? [...own, ...filesOf(backing)] : own;
}

function inWords(error: unknown): string {
	const message = (error as Error).message.split("\n")[0];
	return /Failed to get (shared )?"(write|consistent read)" lock/.test(message)
		? "another program has it open for writing; shut the VM down, or back it up through its hypervisor"
		: message;
}

interface Plan {
	/** in the order of the child's descriptors from FIRST_FD on */
	fds: number[];
	/** descriptors made here, closed here */
	owned: number[];
	/** arguments of blockdev-add, children first; the last is the top */
	nodes: object[];
}

function planNodes(top: BlockNode, directory: string): Plan {
	const plan: Plan = { fds: [], owned: [], nodes: [] };
	const path = (fd: number): string => {
		plan.fds.push(fd);
		// One set per descriptor, numbered from 1.
		return `/dev/fdset/${plan.fds.length}`;
	};
	const fileNode = (filename: string): string => {
		const name = `file${plan.nodes.length}`;
		plan.nodes.push({ driver: "file", "node-name": name, filename, "read-only": true });
		return name;
	};
	const add = (node: BlockNode): string => {
		const backing = node.backing ? add(node.backing) : null;
		const options: Record<string, unknown> = { driver: node.driver, "read-only": true };
		options.file = fileNode("text" in node.file ? path(descriptor(node, path)) : path(node.file.fd));
		if (node.dataFile) options["data-file"] = fileNode(path(node.dataFile.fd));
		if (node.driver !== "raw") options.backing = backing;
		const name = `node${plan.nodes.length}`;
		plan.nodes.push({ ...options, "node-name": name });
		return name;
	};
	const descriptor = (node: BlockNode, pathOf: (fd: number) => string): number => {
		const paths = (node.extents as SourceFile[]).map((extent) => pathOf(extent.fd));
		const file = join(directory, "descriptor");
		writeFileSync(
			file,
			(node.file as { text(f: (i: number) => string): string }).text((i) => paths[i]),
			{ mode: 0o600 },
		);
		const fd = sys.open(file, constants.O_RDONLY);
		plan.owned.push(fd);
		rmSync(file);
		return fd;
	};
	add(top);
	return plan;
}

function start(binary: string, fds: number[], uid: number | undefined): ChildProcess {
	const confined = ["--no-new-privs", "--pdeathsig", "KILL"];
	if (uid !== undefined)
		confined.push("--reuid", `${uid}`, "--regid", `${uid}`, "--clear-groups", "--bounding-set=-all");
	const qemu = ["-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S"];
	qemu.push("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	for (const i of fds.keys()) qemu.push("-add-fd", `fd=${FIRST_FD + i},set=${i + 1}`);
	qemu.push("-chardev", "stdio,id=control", "-mon", "control,mode=control");
	return spawn("setpriv", [...confined, binary, ...qemu], {
		stdio: ["pipe", "pipe", "pipe", ...fds],
		cwd: "/",
		env: { PATH: process.env.PATH, LC_ALL: "C" },
	});
}

async function bringUp(child: ChildProcess, nodes: object[], socket: string): Promise<NbdImage> {
	const qmp = new Qmp(child.stdin!, child.stdout!);
	let words = "";
	child.stderr!.setEncoding("utf8").on("data", (piece: string) => {
		words = (words + piece).slice(-2000);
	});
	child.once("error", (error) => qmp.end(new Error(`cannot run setpriv: ${error.message}`)));
	// "close" comes after stderr's last words.
	child.once("close", () => qmp.end(new Error(words.trim().split("\n").at(-1) || "QEMU was killed")));
	await qmp.ready;
	await qmp.execute("qmp_capabilities");
	for (const node of nodes) await qmp.execute("blockdev-add", node);
	const { "node-name": top } = nodes.at(-1) as { "node-name": string };
	await qmp.execute("nbd-server-start", { addr: { type: "unix", data: { path: socket } }, "max-connections": 1 });
	await qmp.execute("block-export-add", { type: "nbd", id: "disk", "node-name": top, name: "disk", writable: false });
	return (await import("../nbd/index.js")).connectNbd({ socket, exportName: "disk", text: "QEMU" });
}

/** Path of the QEMU that reads foreign formats. Throws SourceError that names the package. */
export function findQemu(): string {
	const names = [`qemu-system-${ARCHITECTURES[process.arch] ?? process.arch}`, "qemu-system-x86_64", "qemu-kvm"];
	const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/bin", "/usr/libexec"];
	for (const name of names)
		for (const folder of folders) {
			const path = join(folder, name);
			try {
				accessSync(path, constants.X_OK);
				return path;
			} catch {
				// Not there: the next.
			}
		}
	throw new SourceError(
		"SOURCE",
		`${names[0]} is not installed: it reads qcow2 and VMDK disks (package qemu-system-x86)`,
	);
}
