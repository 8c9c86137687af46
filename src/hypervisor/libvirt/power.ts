/** Power: on, shutdown, off, reset, pause, resume. */
import type { PowerAction, PowerState } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { type Domain, stateOf } from "./domain.js";

const START_MS = 180_000;

/** What virsh calls it, and the states in which it makes sense. */
const ACTIONS: Readonly<Record<PowerAction, readonly [string, readonly PowerState[]]>> = {
	on: ["start", ["off"]],
	shutdown: ["shutdown", ["running"]],
	off: ["destroy", ["running", "paused"]],
	reset: ["reset", ["running", "paused"]],
	pause: ["suspend", ["running"]],
	resume: ["resume", ["paused"]],
};

const WORDS: Readonly<Record<PowerState, string>> = { off: "is off", running: "is on already", paused: "is paused" };

export const power = async (domain: Domain, action: PowerAction): Promise<void> => {
	const [call, states] = ACTIONS[action];
	const state = await stateOf(domain);
	if (!states.includes(state)) throw new HypervisorError("STATE", `VM ${domain.name} ${WORDS[state]}`);
	await started(domain, [call, domain.id]);
};

/** There, and its disks open, but no instruction of the guest is run. */
export const powerOnPaused = async (domain: Domain): Promise<void> => {
	const info = await domain.host.virsh.call(["dominfo", domain.id]);
	if (/^Managed save:\s*yes/m.test(info))
		throw new HypervisorError(
			"UNSUPPORTED",
			`VM ${domain.name} is off with its memory saved, which reading its disks would spoil: start it, or drop what is saved (virsh managedsave-remove)`,
		);
	await started(domain, ["start", domain.id, "--paused"]);
};

const started = async ({ host, name }: Domain, call: string[]): Promise<void> => {
	try {
		await host.virsh.call(call, { ms: START_MS });
	} catch (error) {
		const { code } = error as HypervisorError;
		throw new HypervisorError(code ?? "FAILED", `VM ${name}: virsh ${call[0]}: ${causeOf(error)}`);
	}
};
