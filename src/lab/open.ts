/** Opens a lab in the mode that this process can have. */
import type { Lab, LabRequest } from "./contract.js";
import { LabError } from "./errors.js";
import { openNamespaceLab } from "./namespace/lab.js";
import { openUserLab } from "./user/lab.js";

/**
 * Rejects with LabError: INVALID (the request), UNSUPPORTED (a program is missing, or the mode and the host do not go
 * together), DENIED, BUSY (the id is in use), FAILED.
 */
export const openLab = async (request: LabRequest): Promise<Lab> => {
	const root = process.getuid?.() === 0;
	const mode = request.mode ?? (root ? "namespace" : "user");
	if (mode === "user") {
		if (request.host !== "qemu")
			throw new LabError("UNSUPPORTED", `a lab on ${request.host} needs network namespaces: run as root`);
		return openUserLab(request);
	}
	if (!root) throw new LabError("DENIED", 'a lab in a network namespace needs root: run as root, or use mode "user"');
	return openNamespaceLab(request);
};
