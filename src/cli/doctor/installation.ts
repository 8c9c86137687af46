/** Node, the addon, and the outside program that some sources need. */
import { sha256 } from "../../../native/index.js";
import { findQemu } from "../../backup/index.js";
import { missingPackages } from "../../lab/index.js";
import type { Finding } from "./finding.js";

const NODE_MAJOR = 20;

export async function checkInstallation(): Promise<Finding[]> {
	const findings: Finding[] = [];
	const major = Number(process.versions.node.split(".")[0]);
	findings.push(
		major >= NODE_MAJOR
			? { check: "node", level: "ok", message: process.version }
			: { check: "node", level: "fail", message: process.version, remedy: `install Node.js ${NODE_MAJOR} or newer` },
	);
	// The empty string's digest: proves that the addon is loaded and computes.
	const digest = sha256(Buffer.alloc(0)).toString("hex").slice(0, 8);
	findings.push(
		digest === "e3b0c442"
			? { check: "addon", level: "ok", message: "loaded" }
			: { check: "addon", level: "fail", message: "computes wrong digests", remedy: "run scripts/setup again" },
	);
	findings.push(foreignFormats(), labs());
	return findings;
}

/** Only verification needs them, and only as root: others have labs of QEMU's own making. */
function labs(): Finding {
	const missing = missingPackages();
	if (missing.length === 0) return { check: "labs", level: "ok", message: "iproute2, nftables, dnsmasq are installed" };
	const message = `verification has no labs as root: ${missing.join(", ")} ${missing.length > 1 ? "are" : "is"} not installed`;
	return { check: "labs", level: "warn", message, remedy: `apt-get install ${missing.join(" ")}` };
}

/** Without QEMU everything works but the backup of qcow2 and sparse VMDK files. */
function foreignFormats(): Finding {
	try {
		return { check: "qemu", level: "ok", message: findQemu() };
	} catch (error) {
		return {
			check: "qemu",
			level: "warn",
			message: (error as Error).message,
			remedy: "apt-get install qemu-system-x86",
		};
	}
}
