/** The model of a session that lab.ts has just made. */
import type { SessionTree } from "../../src/overlay/index.js";
import { DISK, diskOf, pattern } from "./lab.js";
import { Model } from "./model.js";

export const modelOf = (tree: SessionTree): Model => {
	const model = new Model();
	const vm = tree.lookup(1, "vm")!;
	model.create(1, "vm", vm, "directory");
	model.create(vm, "vm.vmx", tree.lookup(vm, "vm.vmx")!, "file", Buffer.from("displayName = one\n"));
	const content = Buffer.concat([pattern(0, DISK - 1000, 7), Buffer.alloc(1000)]);
	model.create(vm, "disk-flat.vmdk", diskOf(tree), "file", content);
	return model;
};
