/** What `hosts add` tries before it saves a host of this type. */
import { execFile } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { promisify } from "node:util";
import type { HostCheck } from "../contract.js";
import { causeOf } from "../errors.js";
import { findFirmware } from "./firmware.js";
import { vmFolders } from "./layout.js";
import { findQemu } from "./start-process.js";
import { tpmProblem } from "./tpm.js";
import { stateOf, vmIn } from "./vm.js";

const run = promisify(execFile);
/** Live backup and migration as they are done here need this. */
const OLDEST = 7;
/** What the longest socket's name adds to a VM's folder; a VM's own name counts, too. */
const SOCKET_ROOM = 107 - "/.springback/qmp.sock".length;

/** Undefined when it does not run, or tells nothing. */
export const qemuVersion = async (): Promise<string | undefined> => {
	const qemu = findQemu();
	const { stdout } = qemu === undefined ? { stdout: "" } : await run(qemu, ["--version"]).catch(() => ({ stdout: "" }));
	return /version (\S+)/.exec(stdout)?.[1];
};

export const checkHost = async (host: string): Promise<HostCheck[]> => {
	const checks: HostCheck[] = [folderCheck(host), await qemuCheck(), kvmCheck(), uefiCheck(), tpmCheck()];
	return checks[0].ok ? [...checks, await vmsCheck(host)] : checks;
};

const folderCheck = (host: string): HostCheck => {
	const what = "folder";
	try {
		if (statSync(host, { throwIfNoEntry: false })?.isDirectory() !== true)
			return { what, ok: false, message: `${host}: there is no such folder: make it, or correct the URI` };
		accessSync(host, constants.R_OK | constants.W_OK | constants.X_OK);
	} catch {
		return { what, ok: false, message: `${host}: cannot be read and written: run as its owner, or as root` };
	}
	if (Buffer.byteLength(host) + 8 > SOCKET_ROOM)
		return { what, ok: false, message: `${host}: its path is too long for the sockets of VMs below it` };
	return { what, ok: true, message: `${host} can be read and written` };
};

const qemuCheck = async (): Promise<HostCheck> => {
	const what = "qemu";
	const qemu = findQemu();
	if (qemu === undefined) return { what, ok: false, message: "not installed: apt install qemu-system-x86" };
	try {
		const { stdout } = await run(qemu, ["--version"]);
		const version = /version (\d+)\.(\d+)/.exec(stdout);
		if (version === null) return { what, ok: false, message: `${qemu} does not tell its version` };
		const ok = Number(version[1]) >= OLDEST;
		return {
			what,
			ok,
			message: `${qemu} ${version[1]}.${version[2]}${ok ? "" : `: version ${OLDEST} or later is needed`}`,
		};
	} catch (error) {
		return { what, ok: false, message: `${qemu} cannot be run: ${causeOf(error)}` };
	}
};

/** Nothing fails without it: guests are emulated, which is slow. */
const kvmCheck = (): HostCheck => {
	try {
		accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
		return { what: "kvm", ok: true, message: "/dev/kvm can be opened" };
	} catch {
		return {
			what: "kvm",
			ok: true,
			message: "no /dev/kvm for this user: guests that are started here are emulated, which is slow",
		};
	}
};

/** Only VMs that boot with it need it. */
const uefiCheck = (): HostCheck => {
	const found = findFirmware();
	const [secure, plain] = [true, false].map((wanted) => found.find((one) => one.secure === wanted)?.code);
	const lacks = [...(plain ? [] : ["UEFI"]), ...(secure ? [] : ["Secure Boot"])].join(" and ");
	const message = lacks === "" ? `${plain}, ${secure}` : `VMs with ${lacks} cannot be started here: apt install ovmf`;
	return { what: "uefi", ok: true, message };
};

const tpmCheck = (): HostCheck => {
	const problem = tpmProblem();
	return {
		what: "tpm",
		ok: true,
		message: problem === undefined ? "swtpm is installed" : `VMs with a TPM cannot be started here: ${problem}`,
	};
};

/** A VM that is damaged is a matter of that VM; only one that we may not talk to is one of the host. */
const vmsCheck = async (host: string): Promise<HostCheck> => {
	const problems: string[] = [];
	let denied = false;
	const names = vmFolders(host);
	for (const name of names) {
		try {
			await stateOf(vmIn(host, name));
		} catch (error) {
			denied ||= (error as { code?: string }).code === "DENIED";
			problems.push(causeOf(error));
		}
	}
	const count = `${names.length} ${names.length === 1 ? "VM" : "VMs"}`;
	return {
		what: "vms",
		ok: !denied,
		message: [count, ...problems].join("; "),
	};
};
