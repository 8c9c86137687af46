/**
 * rpcbind versions 3 and 4 (RFC 1833 section 2): SET and UNSET refused, GETADDR, DUMP, GETTIME, and of version 4
 * GETVERSADDR and GETADDRLIST. The rest (indirect calls, address conversion, statistics) is not served.
 */
import { type AnyProcedure, nullProcedure, type Procedure } from "../rpc/program.js";
import type { XdrReader } from "../xdr/reader.js";
import type { PortmapContext } from "./context.js";
import type { Registration } from "./registry.js";

const STRING_MAX = 1024;
const OWNER = "superuser";
/** NC_TPI_CLTS, NC_TPI_COTS_ORD */
const SEMANTICS: Record<string, number> = { udp: 1, tcp: 3 };

interface Wanted {
	program: number;
	version: number;
	netid: string;
}

/** rpcb; the netid asked for counts, and without one that of the transport the call came by. */
function decodeWanted(context: PortmapContext, args: XdrReader): Wanted {
	const program = args.u32();
	const version = args.u32();
	const netid = args.string(STRING_MAX);
	args.string(STRING_MAX); // address
	args.string(STRING_MAX); // owner
	return { program, version, netid: netid === "" ? context.transport : netid };
}

const refuse = (name: string): Procedure<PortmapContext, boolean> => ({
	name,
	run: () => false,
	encode: (reply, done) => reply.bool(done),
	failed: () => true,
});

const getaddr = (name: string, anyVersion: boolean): Procedure<PortmapContext, string> => ({
	name,
	run(context, args) {
		const { program, version, netid } = decodeWanted(context, args);
		const found = context.find(program, version, netid, anyVersion);
		return found === undefined ? "" : context.universalAddress(found);
	},
	encode: (reply, address) => reply.string(address),
	failed: (address) => address === "",
});

type Located = Registration & { address: string };

const locate = (context: PortmapContext, entries: readonly Registration[]): Located[] =>
	entries.map((entry) => ({ ...entry, address: context.universalAddress(entry) }));

const dump: Procedure<PortmapContext, Located[]> = {
	name: "DUMP",
	run: (context) => locate(context, context.all()),
	encode(reply, entries) {
		for (const entry of entries) {
			reply.u32(1);
			reply.u32(entry.program);
			reply.u32(entry.version);
			reply.string(entry.netid);
			reply.string(entry.address);
			reply.string(OWNER);
		}
		reply.u32(0);
	},
};

const gettime: Procedure<PortmapContext, number> = {
	name: "GETTIME",
	run: (context) => Number(context.options.now() / 1_000_000_000n),
	encode: (reply, seconds) => reply.u32(seconds >>> 0),
};

const getaddrlist: Procedure<PortmapContext, Located[]> = {
	name: "GETADDRLIST",
	run(context, args) {
		const { program, version } = decodeWanted(context, args);
		const entries = context.all().filter((entry) => entry.program === program && entry.version === version);
		return locate(context, entries);
	},
	encode(reply, entries) {
		for (const { netid, address } of entries) {
			const protocol = netid.replace("6", "");
			reply.u32(1);
			reply.string(address);
			reply.string(netid);
			reply.u32(SEMANTICS[protocol]);
			reply.string(netid.endsWith("6") ? "inet6" : "inet");
			reply.string(protocol);
		}
		reply.u32(0);
	},
};

export const rpcbind3Procedures: readonly (AnyProcedure<PortmapContext> | undefined)[] = [
	nullProcedure,
	refuse("SET"),
	refuse("UNSET"),
	getaddr("GETADDR", true),
	dump,
	undefined, // CALLIT
	gettime,
];

export const rpcbind4Procedures: readonly (AnyProcedure<PortmapContext> | undefined)[] = [
	...rpcbind3Procedures,
	undefined, // UADDR2TADDR
	undefined, // TADDR2UADDR
	getaddr("GETVERSADDR", false),
	undefined, // INDIRECT
	getaddrlist,
];
