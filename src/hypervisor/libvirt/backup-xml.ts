/** What `backup-begin` reads (https://libvirt.org/formatbackup.html, formatcheckpoint.html). */
import { escapeXml } from "../../vm/index.js";
import type { Known } from "./checkpoints.js";

export interface BackupDisk {
	/** as those who use the driver call it */
	name: string;
	target: string;
	/** keeps bitmaps, so a checkpoint can begin */
	tracks: boolean;
	known: Known;
}

/** Name under which the bitmap of changes is exported. */
export const CHANGED = "springback-changed";

/** Every disk of the VM is named: libvirt would take along what is left out. */
export const backupXml = (folder: string, disks: BackupDisk[], left: string[]): string => {
	const lines = disks.map(({ target, known }) => {
		const name = escapeXml(target);
		const mode =
			"checkpoint" in known
				? `backupmode="incremental" incremental="${escapeXml(known.checkpoint)}" exportbitmap="${CHANGED}"`
				: 'backupmode="full"';
		return `<disk name="${name}" backup="yes" type="file" ${mode} exportname="${name}"><scratch file="${escapeXml(`${folder}/${target}.scratch`)}"/></disk>`;
	});
	const others = left.map((target) => `<disk name="${escapeXml(target)}" backup="no"/>`);
	return `<domainbackup mode="pull"><server transport="unix" socket="${escapeXml(socketIn(folder))}"/><disks>${[...lines, ...others].join("")}</disks></domainbackup>`;
};

export const checkpointXml = (name: string, description: string, disks: BackupDisk[], left: string[]): string => {
	const lines = disks.map(
		({ target, tracks }) => `<disk name="${escapeXml(target)}" checkpoint="${tracks ? "bitmap" : "no"}"/>`,
	);
	const others = left.map((target) => `<disk name="${escapeXml(target)}" checkpoint="no"/>`);
	return `<domaincheckpoint><name>${name}</name><description>${escapeXml(description)}</description><disks>${[...lines, ...others].join("")}</disks></domaincheckpoint>`;
};

export const socketIn = (folder: string): string => `${folder}/nbd.sock`;
