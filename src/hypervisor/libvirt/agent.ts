/** The guest's agent, through libvirt, which alone has its channel. */
import { causeOf, HypervisorError } from "../errors.js";
import type { AgentCall } from "../guest-agent.js";
import type { Domain } from "./domain.js";

const AGENT_MS = 10_000;

/**
 * Rejects with NO_AGENT when nothing answers within `ms` (whole seconds, for libvirt counts so), and with FAILED when
 * the agent refuses.
 */
export const askAgent = async <T = unknown>(
	{ host, id, name }: Domain,
	command: string,
	args: object = {},
	ms = AGENT_MS,
): Promise<T> => {
	const seconds = Math.max(1, Math.ceil(ms / 1000));
	const request = JSON.stringify({ execute: command, arguments: args });
	let answer: string;
	try {
		answer = await host.virsh.call(["qemu-agent-command", id, request, "--timeout", String(seconds)], {
			// libvirt first asks the agent whether it listens, which it gives 5 s.
			ms: (seconds + 10) * 1000,
		});
	} catch (error) {
		const { code } = error as HypervisorError;
		if (code === "NO_AGENT" || code === "TIMEOUT" || code === "STATE")
			throw new HypervisorError(
				"NO_AGENT",
				`VM ${name}: the guest's agent does not answer (${code === "STATE" ? "it is off" : causeOf(error)}): install and start qemu-guest-agent in it`,
			);
		if (code !== "FAILED") throw error;
		const words = causeOf(error).replace(/^libvirt: (unable to execute QEMU agent command '[^']*': )?/, "");
		throw new HypervisorError("FAILED", `VM ${name}: the guest's agent refuses: ${words}`);
	}
	try {
		return (JSON.parse(answer) as { return: T }).return;
	} catch {
		throw new HypervisorError("FAILED", `VM ${name}: the guest's agent answers with something that is not JSON`);
	}
};

export const agentOf =
	(domain: Domain): AgentCall =>
	(command, args, ms) =>
		askAgent(domain, command, args, ms);

export const heartbeat = (domain: Domain): Promise<boolean> =>
	askAgent(domain, "guest-ping", {}, 3_000).then(
		() => true,
		() => false,
	);
