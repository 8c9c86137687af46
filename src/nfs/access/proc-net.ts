/**
 * What Linux tells about TCP sockets, by netlink and in /proc/net/tcp{,6}: who owns the other end of a loopback
 * connection, and which process holds a port. Format: Documentation/networking/proc_net_tcp.rst of the kernel.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { socketOwner } from "../../../native/index.js";
import { parseAddress } from "./address.js";

interface SocketLine {
	/** 4 or 16 bytes as hex, network order */
	localAddress: string;
	localPort: number;
	/** 1 established, 0x0A listening */
	state: number;
	inode: string;
}

const LISTENING = 0x0a;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** /proc prints each 32-bit word of an address in host order; mapped IPv4 is reduced to IPv4. */
function addressOf(field: string): string {
	const words = field.match(/.{8}/g) ?? [];
	const bytes = words
		.map((word) => word.match(/../g)!.reverse().join(""))
		.join("")
		.toLowerCase();
	return bytes.startsWith("00000000000000000000ffff") ? bytes.slice(24) : bytes;
}

function readTable(table: string): string {
	try {
		return readFileSync(`/proc/net/${table}`, "latin1");
	} catch {
		return ""; // no IPv6, or no /proc
	}
}

function* lines(kind: "tcp" | "udp"): Generator<SocketLine> {
	for (const table of [kind, `${kind}6`]) {
		for (const line of readTable(table).split("\n").slice(1)) {
			const fields = line.trim().split(/\s+/);
			if (fields.length < 10) continue;
			const [local, localPort] = fields[1].split(":");
			yield {
				localAddress: addressOf(local),
				localPort: Number.parseInt(localPort, 16),
				state: Number.parseInt(fields[3], 16),
				inode: fields[9],
			};
		}
	}
}

/** An end of a connection as /proc prints it, in the IPv4 and the IPv6 table. */
function printed(end: End, table: "tcp" | "tcp6"): string {
	const mapped = Buffer.alloc(16);
	mapped.fill(0xff, 10, 12);
	mapped.set(end.address, 16 - end.address.length);
	const bytes =
		table === "tcp" ? Buffer.from(end.address) : end.address.length === 4 ? mapped : Buffer.from(end.address);
	return `${hex(bytes.swap32())}:${end.port.toString(16).padStart(4, "0")}`.toUpperCase();
}

export interface End {
	address: Uint8Array;
	port: number;
}

/**
 * uid of the local socket at `peer` that is connected to `own`; undefined when there is none (the peer is on
 * another machine, or gone). Runs at every accept: the kernel is asked for this one, and its whole table, which takes
 * it milliseconds, is only read where it does not answer that.
 */
export function connectionOwner(peer: End, own: End): number | undefined {
	// Link-local (fe80::/10): one address may be on several interfaces, which the question would have to name.
	if (peer.address.length === 16 && peer.address[0] === 0xfe && (peer.address[1] & 0xc0) === 0x80)
		return ownerInTable(peer, own);
	try {
		return socketOwner(peer.address, peer.port, own.address, own.port);
	} catch {
		return ownerInTable(peer, own);
	}
}

/** The same from /proc/net/tcp{,6}. */
export function ownerInTable(peer: End, own: End): number | undefined {
	for (const table of ["tcp", "tcp6"] as const) {
		if (table === "tcp" && peer.address.length !== 4) continue;
		const text = readTable(table);
		const at = text.indexOf(` ${printed(peer, table)} ${printed(own, table)} `);
		if (at < 0) continue;
		const fields = text.slice(at + 1, text.indexOf("\n", at)).split(/ +/);
		// From the local address on: remote, state, queues, timer, retransmits, uid, timeout, inode. Inode 0: the
		// process has closed it already, and the uid is no longer told.
		if (fields[8] !== "0") return Number(fields[6]);
	}
	return undefined;
}

/** "name (pid N)" of the process that holds a port at `address`; undefined when it cannot be seen. */
export function portHolder(kind: "tcp" | "udp", address: string, port: number): string | undefined {
	const bytes = parseAddress(address);
	const wanted = bytes === undefined ? "" : hex(bytes);
	const wild = /^0*$/;
	const inodes = new Set<string>();
	for (const line of lines(kind)) {
		if (line.localPort !== port || (kind === "tcp" && line.state !== LISTENING)) continue;
		const clashes = line.localAddress === wanted || wild.test(line.localAddress) || wild.test(wanted);
		if (clashes) inodes.add(`socket:[${line.inode}]`);
	}
	if (inodes.size === 0) return undefined;
	for (const pid of readdirSync("/proc")) {
		if (!/^\d+$/.test(pid)) continue;
		try {
			for (const fd of readdirSync(`/proc/${pid}/fd`)) {
				if (!inodes.has(readlinkSync(`/proc/${pid}/fd/${fd}`))) continue;
				return `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (pid ${pid})`;
			}
		} catch {
			// not ours to look into, or gone meanwhile
		}
	}
	return undefined;
}
