/** The portmap program in its three versions. */
import type { Program } from "../rpc/program.js";
import { PORTMAP_PROGRAM } from "../rpc/protocol.js";
import { PortmapContext, type PortmapOptions } from "./context.js";
import { pmapProcedures } from "./pmap.js";
import { rpcbind3Procedures, rpcbind4Procedures } from "./rpcbind.js";

export const portmapProgram = (options: PortmapOptions, transport: "tcp" | "udp"): Program<PortmapContext> => ({
	name: "PORTMAP",
	number: PORTMAP_PROGRAM,
	versions: new Map([
		[2, pmapProcedures],
		[3, rpcbind3Procedures],
		[4, rpcbind4Procedures],
	]),
	context: (call) => new PortmapContext(call, options, transport),
});
