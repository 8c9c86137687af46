/** The other end of a connection: its address and, when it is on this machine, the user who owns its socket. */
import { networkInterfaces } from "node:os";
import { isLoopback, parseAddress, plainAddress } from "./address.js";
import { connectionOwner } from "./proc-net.js";

export interface Peer {
	/** without port; IPv4-mapped addresses are spelt as IPv4 */
	readonly address: string;
	readonly bytes: Uint8Array;
	readonly port: number;
	/** our address that it reached; unknown for datagrams to a wildcard address */
	readonly own?: string;
	/** on this machine: then the socket's owner decides too, since AUTH_SYS lets anybody claim any uid */
	readonly local: boolean;
	/** owner of the local peer's socket; undefined: not found, so nobody */
	readonly uid?: number;
}

/** True for loopback and for every address of this machine: a local user can reach us through any of them. */
export function isLocal(bytes: Uint8Array): boolean {
	if (isLoopback(bytes)) return true;
	const own = Buffer.from(bytes);
	for (const list of Object.values(networkInterfaces())) {
		for (const entry of list ?? []) {
			const other = parseAddress(entry.address);
			if (other !== undefined && own.equals(other)) return true;
		}
	}
	return false;
}

const NOWHERE = new Uint8Array(0);

/** Identifies the peer of an accepted TCP connection. */
export function peerOfConnection(socket: {
	remoteAddress?: string;
	remotePort?: number;
	localAddress?: string;
	localPort?: number;
}): Peer {
	const address = plainAddress(socket.remoteAddress ?? "");
	const bytes = parseAddress(address) ?? NOWHERE;
	const port = socket.remotePort ?? 0;
	const ownAddress = plainAddress(socket.localAddress ?? "");
	if (!isLocal(bytes)) return { address, bytes, port, own: ownAddress, local: false };
	const own = parseAddress(ownAddress) ?? NOWHERE;
	const uid = connectionOwner({ address: bytes, port }, { address: own, port: socket.localPort ?? 0 });
	return { address, bytes, port, own: ownAddress, local: true, uid };
}

/** The sender of a datagram, whose owner nobody can tell. */
export function peerOfDatagram(sender: { address: string; port: number }): Peer {
	const address = plainAddress(sender.address);
	const bytes = parseAddress(address) ?? NOWHERE;
	return { address, bytes, port: sender.port, local: isLocal(bytes) };
}
