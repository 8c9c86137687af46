/** A VM that we made is the host's own from now on. */
import { writeDefinition } from "./definition.js";
import { lockVm, type Vm, vmIn } from "./vm.js";

export const release = (host: string, vm: Vm): void => {
	const lock = lockVm(vm);
	try {
		const { session, ...definition } = vmIn(host, vm.name).definition;
		if (session !== undefined) writeDefinition(vm.places.definition, definition);
	} finally {
		lock.release();
	}
};
