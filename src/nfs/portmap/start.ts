/** Makes the ports known: by answering on port 111, through the rpcbind that has it, or not at all. */

import { describePort, type Listener } from "../listen.js";
import type { Service } from "../rpc/dispatcher.js";
import type { Program } from "../rpc/program.js";
import { MOUNT_PROGRAM, NFS_PROGRAM, PORTMAP_PROGRAM } from "../rpc/protocol.js";
import type { PortmapContext, PortmapOptions } from "./context.js";
import { listenUdp } from "./datagrams.js";
import { portmapProgram } from "./program.js";
import { register } from "./register.js";
import { netids, type Registration, Registry } from "./registry.js";

export type PortmapMode = "own" | "register" | "auto" | "off";

export interface PortmapStart extends Omit<PortmapOptions, "registry"> {
	mode: PortmapMode;
	/** 111 */
	port: number;
	rpcbindSocket: string;
	nfsPort: number;
	mountPort: number;
	service: Service;
	/** opens a TCP listener for programs */
	listenTcp(port: number, what: string, programs: readonly Program<PortmapContext>[]): Promise<Listener>;
}

export interface Portmap {
	/** for people: "own …", "registered with rpcbind", "off …" */
	state: string;
	/** where we answer ourselves */
	port?: number;
	close(): Promise<void>;
}

const off = (why = ""): Portmap => ({ state: `off${why}`, close: async () => {} });

function services(start: PortmapStart): Registration[] {
	const tcp = netids("tcp", start.listen);
	return tcp.flatMap((netid) => [
		{ program: NFS_PROGRAM, version: 3, netid, port: start.nfsPort },
		...[1, 2, 3].map((version) => ({ program: MOUNT_PROGRAM, version, netid, port: start.mountPort })),
	]);
}

async function own(start: PortmapStart): Promise<Portmap> {
	const { listen, service } = start;
	const entries = services(start);
	const options = { ...start, registry: new Registry(entries) };
	const listener = await start.listenTcp(start.port, "portmap", [portmapProgram(options, "tcp")]);
	const port = listener.port;
	for (const transport of ["tcp", "udp"] as const) {
		for (const netid of netids(transport, listen)) {
			for (const version of [2, 3, 4]) entries.push({ program: PORTMAP_PROGRAM, version, netid, port });
		}
	}
	try {
		const programs = [portmapProgram(options, "udp")];
		const socket = await listenUdp(listen, port, { ...service, programs });
		const close = async (): Promise<void> => {
			socket.close();
			await listener.close();
		};
		return { state: `own, on ${listen} port ${port}, TCP and UDP`, port, close };
	} catch (error) {
		await listener.close();
		throw describePort(error, "udp", listen, port, "portmap");
	}
}

async function registered(start: PortmapStart): Promise<Portmap> {
	const unregister = await register(services(start), start.listen, start.rpcbindSocket);
	const close = async (): Promise<void> => {
		await unregister().catch((error: Error) =>
			start.service.log(`rpcbind could not be told to forget us: ${error.message}`),
		);
	};
	return { state: "registered with rpcbind", close };
}

export async function startPortmap(start: PortmapStart): Promise<Portmap> {
	if (start.mode === "off") return off();
	if (start.mode === "own") return own(start);
	if (start.mode === "register") return registered(start);
	try {
		return await own(start);
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		if (code !== "EADDRINUSE" && code !== "EACCES") throw error;
		try {
			return await registered(start);
		} catch (second) {
			return off(`: ${message}; ${(second as Error).message}`);
		}
	}
}
