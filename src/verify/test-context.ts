/** What the tests of one VM may use: its lab, its host, its restore point. */
import type { Hypervisor } from "../hypervisor/index.js";
import type { Lab } from "../lab/contract.js";
import { type BlocksReport, checkBlocks } from "./check-blocks.js";
import type { Guest } from "./machine.js";
import { type TestContext, TestFailure, type TestSpec } from "./tests/contract.js";
import type { VerifyWorld } from "./world.js";

export interface TestParts {
	guest: Guest;
	lab: Lab;
	host: Hypervisor;
	world: VerifyWorld;
	spec: TestSpec;
	/** of the VM on the host */
	id: string;
	directory: string;
	signal: AbortSignal;
	/** Looks for them; what the guest is known by so far. */
	addresses(): Promise<string[]>;
	/** NBD URI of a disk of the restore point */
	diskUri(disk: string): string;
	/** all blocks have been read */
	checked(blocks: BlocksReport): void;
}

export const testContext = (parts: TestParts): TestContext => {
	const { guest, lab, host, world, spec, id, directory, signal } = parts;
	const { plan, point } = guest;
	const reach = async (): Promise<string> => {
		await parts.addresses();
		const reached = await lab.reach(guest.guest.name);
		if (reached !== undefined) return reached;
		if (lab.mode === "user")
			throw new TestFailure("without root only ports of a guest can be reached", { fault: "infrastructure" });
		throw new TestFailure("no address of the guest is known: it asked for none and has sent nothing");
	};
	return {
		...{ vm: plan.vm, point: point.id, guest: guest.guest.name, directory, signal, reach },
		async endpoint(port) {
			const found = await lab.endpoint(guest.guest.name, port);
			if (found !== undefined) return found;
			return { host: await reach(), port: port.port };
		},
		heartbeat: () => host.heartbeat(id),
		run: (program, args, timeoutMs) => host.run(id, program, args, timeoutMs),
		console: async () => (await host.console?.(id)) ?? "",
		screenshot: () => host.screenshot(id),
		disks: point.disks.map(({ name, size }) => ({
			...{ name, size },
			open: () => world.repository.openDisk(point, name),
		})),
		diskUri: async (disk) => parts.diskUri(disk),
		async checkBlocks(progress, until = signal) {
			const blocks = await checkBlocks(world.repository, point, progress, AbortSignal.any([signal, until]));
			parts.checked(blocks);
			return blocks;
		},
		environment: async () => ({
			...{ SPRINGBACK_VM: plan.vm, SPRINGBACK_POINT: point.id, SPRINGBACK_POINT_TIME: point.time },
			...{ SPRINGBACK_GUEST: guest.guest.name, SPRINGBACK_TEST: spec.name },
			SPRINGBACK_ADDRESS: (await lab.reach(guest.guest.name)) ?? "",
			SPRINGBACK_GUEST_ADDRESS: (await parts.addresses())[0] ?? "",
		}),
	};
};
