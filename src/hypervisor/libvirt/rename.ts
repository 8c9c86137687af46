/**
 * Another name and id for a VM that is off. libvirt changes no id: so the VM is defined anew beside the old definition,
 * which goes last. At each moment one of the two is there, and the call can be made again.
 */
import { copyFileSync, existsSync, renameSync } from "node:fs";
import { dirname } from "node:path";
import { renamedDomain } from "../../vm/index.js";
import { causeOf, HypervisorError } from "../errors.js";
import { allDomains, type Domain, definitionOf, described, stateOf } from "./domain.js";
import { lockDomain } from "./lock.js";
import { nvramPath, tpmFolder } from "./read-config.js";
import { undefine, VM_NAME } from "./register.js";
import { withFiles } from "./with-files.js";

export const rename = async (domain: Domain, to: { name: string; id: string }): Promise<void> => {
	const { host, id, name } = domain;
	if (!VM_NAME.test(to.name)) throw new HypervisorError("INVALID", `"${to.name}" cannot be the name of a VM here`);
	const lock = lockDomain(domain);
	try {
		if ((await stateOf(domain)) !== "off") throw new HypervisorError("STATE", `VM ${name} is on: power it off first`);
		const others = (await allDomains(host)).filter((one) => one.id !== id);
		const done = others.some((one) => one.id === to.id && one.name === to.name);
		const taken = others.find((one) => one.id === to.id || one.name === to.name);
		if (taken !== undefined && !done)
			throw new HypervisorError("STATE", `VM ${taken.name} (${taken.id}) has this name or id already`);
		if (to.id === id) {
			const vars = await nvramOf(domain);
			if (to.name !== name) await host.virsh.call(["domrename", id, to.name]);
			await carryNvram(vars, { host, ...to });
			return;
		}
		// The new one has the name from the beginning.
		if (to.name === name) await host.virsh.call(["domrename", id, `${name.slice(0, 100)}.old-${id.slice(0, 8)}`]);
		if (!done) await defineAnew(domain, to);
		await undefine(domain, true);
	} catch (error) {
		if (error instanceof HypervisorError && /^VM /.test(error.message)) throw error;
		throw new HypervisorError("FAILED", `VM ${name} was not renamed to ${to.name}: ${causeOf(error)}`);
	} finally {
		lock.release();
	}
};

const defineAnew = async (domain: Domain, to: { name: string; id: string }): Promise<void> => {
	const { host } = domain;
	const xml = await definitionOf(domain, "stored");
	const text = renamedDomain(xml, to.name, to.id);
	const vars = await nvramOf(domain);
	await withFiles([text], ([path]) => host.virsh.call(["define", path]));
	await carryNvram(vars, { host, ...to });
	if (!host.uri.local) return;
	const [from, into] = [domain.id, to.id].map((one) => dirname(tpmFolder(one)));
	if (existsSync(from) && !existsSync(into)) renameSync(from, into);
};

const nvramOf = async (domain: Domain): Promise<string | null> =>
	nvramPath(domain, described(domain, await definitionOf(domain, "stored")).config);

/** libvirt looks for it under the new name. */
const carryNvram = async (from: string | null, domain: Domain): Promise<void> => {
	const to = await nvramOf(domain);
	if (domain.host.uri.local && from !== null && to !== null && existsSync(from) && !existsSync(to))
		copyFileSync(from, to);
};
