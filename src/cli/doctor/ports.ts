/** The mount process, or else whether its ports are free. */
import { createServer } from "node:net";
import { findMountd } from "../../mountd/start.js";
import type { Finding } from "./finding.js";

export async function checkPorts(
	state: string,
	listen: string,
	ports: { nfs: number; mount: number },
): Promise<Finding[]> {
	const mountd = await findMountd(state, listen);
	if (mountd) {
		const { pid, nfsPort, mountPort, portmap, sessions } = await mountd.call("hello", {});
		mountd.end();
		return [
			{
				check: "mount process",
				level: portmap.startsWith("off:") ? "warn" : "ok",
				message: `pid ${pid} on ${listen}, nfs ${nfsPort}, mount ${mountPort}, portmap ${portmap}, ${sessions} sessions`,
			},
		];
	}
	const findings: Finding[] = [
		{ check: "mount process", level: "ok", message: `none runs on ${listen}; publish starts it` },
	];
	for (const [name, option, port] of [
		["nfs", "--nfs-port", ports.nfs],
		["mount", "--mount-port", ports.mount],
	] as const) {
		const refusal = await cannotListen(listen, port);
		findings.push(
			refusal === undefined
				? { check: `${name} port`, level: "ok", message: `${listen}:${port} is free` }
				: { check: `${name} port`, level: "fail", message: `${listen}:${port}: ${refusal}`, remedy: `use ${option} N` },
		);
	}
	const portmap = await cannotListen(listen, 111);
	findings.push(
		portmap === undefined
			? { check: "portmap", level: "ok", message: "111 is free: answered by ourselves" }
			: {
					check: "portmap",
					level: "warn",
					message: `111: ${portmap}`,
					remedy: "a running rpcbind is registered with; otherwise clients must be told the ports",
				},
	);
	return findings;
}

function cannotListen(host: string, port: number): Promise<string | undefined> {
	return new Promise((resolve) => {
		const server = createServer();
		server.once("error", (error: NodeJS.ErrnoException) =>
			resolve(
				error.code === "EADDRINUSE"
					? "in use by another process"
					: error.code === "EADDRNOTAVAIL"
						? "not an address of this machine"
						: error.code === "EACCES"
							? "needs root"
							: error.message,
			),
		);
		server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
	});
}
