/** What VMs, disks and extra files may be called. */
import { RepositoryError } from "./contract.js";

/** Throws RepositoryError when the name cannot be one of a VM. */
export const checkVmName = (vm: string): void => {
	const refuse = (why: string) =>
		new RepositoryError("UNKNOWN_VM", `a VM cannot be named ${JSON.stringify(vm)}: ${why}`);
	if (vm.trim() === "") throw refuse("the name is empty");
	if (vm.includes("@")) throw refuse("`@` separates the name from the restore point");
	if (vm.includes("/")) throw refuse("`/` separates folders where the VM is published");
	if (vm === "." || vm === "..") throw refuse("it is a directory");
	// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not get in
	if (/[\u0000-\u001f\u007f]/.test(vm)) throw refuse("it has a control character");
	if (/\p{Surrogate}/u.test(vm)) throw refuse("it is not valid Unicode");
};

/** Throws RepositoryError when disk names are malformed or repeat. */
export const checkDiskNames = (names: string[]): void => {
	const seen = new Set<string>();
	for (const name of names) {
		if (!/^[A-Za-z0-9._-]+$/.test(name))
			throw new RepositoryError(
				"SOURCE",
				`a disk cannot be named ${JSON.stringify(name)}: use letters, digits, ".", "_" and "-"`,
			);
		if (seen.has(name)) throw new RepositoryError("SOURCE", `two disks are named ${name}: give each its own name`);
		seen.add(name);
	}
};

/** Throws RepositoryError when the word cannot be a tag of a point. */
export const checkTag = (tag: string): void => {
	if (!/^[\p{L}\p{N}][\p{L}\p{N}._:+-]{0,63}$/u.test(tag))
		throw new RepositoryError(
			"SOURCE",
			`a tag cannot be ${JSON.stringify(tag)}: use 1 to 64 letters, digits, ".", "_", ":", "+" and "-"`,
		);
};
