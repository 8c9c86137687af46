/** What the guest's agent tells and does: sign of life, addresses, programs. */
import type { GuestResult } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { type AgentCall, agentAddresses, agentRun } from "../guest-agent.js";
import { GuestAgent } from "./agent.js";
import type { Vm } from "./vm.js";

const withAgent = async <T>(vm: Vm, work: (call: AgentCall) => Promise<T>): Promise<T> => {
	const agent = await GuestAgent.connect(vm.places.agent);
	try {
		return await work((command, args, ms) => agent.call(command, args, ms));
	} catch (error) {
		if (error instanceof HypervisorError) throw error;
		throw new HypervisorError("FAILED", `VM ${vm.name}: the guest's agent refuses: ${causeOf(error)}`);
	} finally {
		agent.close();
	}
};

export const heartbeat = async (vm: Vm): Promise<boolean> => {
	try {
		await withAgent(vm, (call) => call("guest-ping"));
		return true;
	} catch {
		return false;
	}
};

export const addresses = (vm: Vm): Promise<string[]> => withAgent(vm, agentAddresses);

export const runInGuest = (vm: Vm, program: string, args: string[], timeoutMs?: number): Promise<GuestResult> =>
	withAgent(vm, (call) => agentRun(call, vm.name, program, args, timeoutMs));
