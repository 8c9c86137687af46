/** NBD URIs (doc/uri.md of the NBD project). */
import { STRING_MAX } from "./protocol.js";

export interface NbdAddress {
	/** TCP, or … */
	host?: string;
	port?: number;
	/** … a Unix socket's path */
	socket?: string;
	exportName: string;
	/** for messages */
	text: string;
}

export const NBD_PORT = 10809;
/** sun_path of unix(7) holds 108 bytes with the final zero. */
const SOCKET_PATH_MAX = 107;

export const isNbdUri = (text: string): boolean => /^nbds?(\+[a-z]+)?:/i.test(text);

/** Throws an Error of one line that names the URI and what is wrong with it. */
export function parseNbdUri(text: string): NbdAddress {
	const fail = (why: string): never => {
		throw new Error(`${text}: ${why}; expected nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH`);
	};
	let url: URL;
	try {
		url = new URL(text);
	} catch {
		return fail("not a URI");
	}
	if (url.protocol === "nbds:" || url.protocol === "nbds+unix:") return fail("TLS is not supported");
	if (url.protocol !== "nbd:" && url.protocol !== "nbd+unix:") return fail("unknown kind of NBD URI");
	if (url.username || url.password || url.hash) return fail("user, password and fragment have no meaning here");
	for (const key of url.searchParams.keys()) if (key !== "socket") return fail(`unknown parameter "${key}"`);
	let exportName: string;
	try {
		exportName = decodeURIComponent(url.pathname.replace(/^\//, ""));
	} catch {
		return fail("the export name is not valid percent-encoded UTF-8");
	}
	if (Buffer.byteLength(exportName) > STRING_MAX || exportName.includes("\0")) return fail("invalid export name");
	const socket = url.searchParams.get("socket");
	if (url.protocol === "nbd:") {
		if (socket !== null) return fail("a socket needs nbd+unix:");
		if (!url.hostname) return fail("no host");
		const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
		return { host, port: url.port ? Number(url.port) : NBD_PORT, exportName, text };
	}
	if (!socket) return fail("no socket path");
	if (url.host) return fail("a host has no meaning with a Unix socket");
	if (Buffer.byteLength(socket) > SOCKET_PATH_MAX || socket.includes("\0"))
		return fail(`the socket path is longer than ${SOCKET_PATH_MAX} bytes or malformed`);
	return { socket, exportName, text };
}
