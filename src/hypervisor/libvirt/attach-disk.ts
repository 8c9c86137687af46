/** One more disk for a VM that is off, or other content for one that it has. The old file stays where it is. */
import { domainWithDisk } from "../../vm/index.js";
import type { RegisterDisk } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { type Domain, definitionOf, described, stateOf } from "./domain.js";
import { lockDomain } from "./lock.js";
import { reconnectDelay } from "./register.js";
import { withFiles } from "./with-files.js";

export const attachDisk = async (domain: Domain, disk: RegisterDisk, replace: boolean): Promise<void> => {
	const { host, name } = domain;
	const lock = lockDomain(domain);
	try {
		if ((await stateOf(domain)) !== "off") throw new HypervisorError("STATE", `VM ${name} is on: power it off first`);
		const xml = await definitionOf(domain, "stored");
		const has = described(domain, xml).disks.find((one) => one.name === disk.name);
		if (has !== undefined && !replace) throw new HypervisorError("STATE", `VM ${name} has a disk ${disk.name} already`);
		const text = domainWithDisk(xml, { ...disk, name: has?.target ?? disk.name }, await reconnectDelay(host, [disk]));
		await withFiles([text], ([path]) => host.virsh.call(["define", path]));
	} catch (error) {
		if (error instanceof HypervisorError && /^VM /.test(error.message)) throw error;
		throw new HypervisorError("FAILED", `VM ${name}: disk ${disk.name} was not attached: ${causeOf(error)}`);
	} finally {
		lock.release();
	}
};
