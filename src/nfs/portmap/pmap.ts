/**
 * Port mapper version 2 (RFC 1833 section 3). SET and UNSET are refused: nobody else registers here. CALLIT is not
 * served, for it lets others act in our name.
 */
import { type AnyProcedure, nullProcedure, type Procedure } from "../rpc/program.js";
import type { PortmapContext } from "./context.js";

const PROTOCOLS: Record<number, string> = { 6: "tcp", 17: "udp" };
const NUMBERS: Record<string, number> = { tcp: 6, udp: 17 };

const refuse = (name: string): Procedure<PortmapContext, boolean> => ({
	name,
	run: () => false,
	encode: (reply, done) => reply.bool(done),
	failed: () => true,
});

const getport: Procedure<PortmapContext, number> = {
	name: "GETPORT",
	run(context, args) {
		const program = args.u32();
		const version = args.u32();
		const protocol = args.u32();
		args.u32(); // port, ignored
		return context.find(program, version, PROTOCOLS[protocol] ?? "", true)?.port ?? 0;
	},
	encode: (reply, port) => reply.u32(port),
	failed: (port) => port === 0,
};

const dump: Procedure<PortmapContext, { program: number; version: number; netid: string; port: number }[]> = {
	name: "DUMP",
	run: (context) => context.all().filter((entry) => NUMBERS[entry.netid] !== undefined),
	encode(reply, entries) {
		for (const entry of entries) {
			reply.u32(1);
			reply.u32(entry.program);
			reply.u32(entry.version);
			reply.u32(NUMBERS[entry.netid]);
			reply.u32(entry.port);
		}
		reply.u32(0);
	},
};

export const pmapProcedures: readonly AnyProcedure<PortmapContext>[] = [
	nullProcedure,
	refuse("SET"),
	refuse("UNSET"),
	getport,
	dump,
];
