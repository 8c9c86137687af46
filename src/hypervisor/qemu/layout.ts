/** Files of a VM on a `qemu` host: a folder with its definition, its sockets and, under `.springback`, what we made. */
import { existsSync, readdirSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { HypervisorError } from "../errors.js";

export interface VmPlaces {
	folder: string;
	definition: string;
	qmp: string;
	agent: string;
	/** what a process of ours wrote that ended at once */
	log: string;
	/** ours: scratch files, sockets, notes */
	own: string;
	/** held by whoever has a snapshot or moves storage */
	lock: string;
	nbd: string;
	/** monitor of the process that reads the disks of a VM that is off */
	helper: string;
	/** what is being moved where */
	move: string;
	/** held while its processes start */
	starting: string;
	/** of SeaBIOS: the port of the serial console */
	sercon: string;
	/** there while what lies in the folder is of no VM yet, or of none any more */
	unfinished: string;
	/** UEFI's variables; `nvram.ts` */
	nvram: string;
	/** folder of the TPM's state, and of its process; `tpm.ts` */
	tpm: string;
	tpmState: string;
	tpmPid: string;
	tpmLog: string;
}

export const vmPlaces = (folder: string): VmPlaces => {
	const own = join(folder, ".springback");
	return {
		folder,
		definition: join(folder, "vm.json"),
		qmp: join(folder, "qmp.sock"),
		agent: join(folder, "agent.sock"),
		log: join(folder, "qemu.log"),
		own,
		lock: join(own, "lock"),
		nbd: join(own, "nbd.sock"),
		helper: join(own, "qmp.sock"),
		move: join(own, "move.json"),
		starting: join(own, "starting"),
		sercon: join(own, "sercon-port"),
		unfinished: join(own, "unfinished"),
		nvram: join(folder, "nvram.fd"),
		tpm: join(folder, "tpm"),
		tpmState: join(folder, "tpm", "tpm2-00.permall"),
		tpmPid: join(own, "tpm.pid"),
		tpmLog: join(own, "tpm.log"),
	};
};

/** The folder that `qemu:///DIR` names. Throws INVALID. */
export const folderOf = (uri: string): string => {
	const match = /^qemu:\/\/(\/[^?#]*)$/.exec(uri);
	if (match === null)
		throw new HypervisorError(
			"INVALID",
			`${uri}: a host of type qemu is qemu:///DIR, the folder of its VMs on this machine`,
		);
	try {
		const folder = decodeURIComponent(match[1]);
		if (isAbsolute(folder) && !folder.includes("\0")) return folder;
	} catch {
		// below
	}
	throw new HypervisorError("INVALID", `${uri}: not a folder`);
};

/** Folders below the host's that hold a definition, by name. */
export const vmFolders = (host: string): string[] => {
	try {
		return readdirSync(host, { withFileTypes: true })
			.filter((entry) => entry.isDirectory() && existsSync(join(host, entry.name, "vm.json")))
			.map(({ name }) => name)
			.sort();
	} catch (error) {
		const { code } = error as { code?: string };
		throw new HypervisorError(
			code === "ENOENT" ? "NOT_FOUND" : "DENIED",
			`${host}: ${code === "ENOENT" ? "there is no such folder" : `cannot be listed (${code})`}: check the host's URI`,
		);
	}
};
