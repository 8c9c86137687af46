/**
 * For libvirt, whose QEMU runs in the host's own namespace: a bridge there for each network, joined to the lab's. It has
 * no address, and what it would hand to the host is dropped before any of the host's protocols sees it.
 */
import type { Layout } from "../layout.js";
import type { Names } from "../names.js";
import { run } from "../run.js";
import { quiet } from "./tester-link.js";

export const makeHostBridges = async (names: Names, { networks }: Layout): Promise<void> => {
	const { namespace, hostBridge, hostPort, innerPort } = names;
	for (const n of networks.keys()) {
		const bridge = hostBridge(n);
		await run("ip", [
			...["link", "add", bridge, "type", "bridge"],
			...["stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"],
		]);
		quiet(bridge);
		// Of this bridge's own traffic to and from the host; frames from port to port do not come by here.
		await run(
			"nft",
			["-f", "-"],
			`table netdev ${names.hostTable} {
	chain ${bridge} {
		type filter hook ingress device "${bridge}" priority -500; policy drop;
	}
}
`,
		);
		const port = hostPort(n);
		await run("ip", ["link", "add", port, "type", "veth", "peer", "name", innerPort(n), "netns", namespace]);
		quiet(port);
		await run("ip", ["-batch", "-"], `link set ${port} master ${bridge} up\nlink set ${bridge} up\n`);
		await run("ip", ["-n", namespace, "link", "set", innerPort(n), "master", names.bridge(n), "up"]);
	}
};
