/**
 * Registration with the rpcbind that holds port 111, through its local socket (over TCP it lets nobody register
 * unless started with -i). A registration that another live server holds is left alone; one that a killed
 * process of ours left behind is replaced.
 */
import { connect, isIP } from "node:net";
import { RpcClient } from "../rpc/client.js";
import { PORTMAP_PROGRAM } from "../rpc/protocol.js";
import { type Registration, universalAddress } from "./registry.js";

export const RPCBIND_SOCKET = "/run/rpcbind.sock";
const VERSION = 4;
const SET = 1;
const UNSET = 2;
/** this very version */
const GETVERSADDR = 9;
const OWNER = "superuser";
const CONNECT_TIMEOUT_MS = 2000;

async function call(client: RpcClient, procedure: number, entry: Registration, address: string) {
	return client.call(PORTMAP_PROGRAM, VERSION, procedure, (args) => {
		args.u32(entry.program);
		args.u32(entry.version);
		args.string(entry.netid);
		args.string(address);
		args.string(OWNER);
	});
}

/** host and port of a universal address */
function located(address: string): { host: string; port: number } | undefined {
	const match = /^(.*)\.(\d+)\.(\d+)$/.exec(address);
	return match ? { host: match[1], port: Number(match[2]) * 256 + Number(match[3]) } : undefined;
}

function answers(host: string, port: number): Promise<boolean> {
	return new Promise((resolve) => {
		const wild = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
		const socket = connect({ host: wild, port });
		const end = (alive: boolean): void => {
			socket.destroy();
			resolve(alive);
		};
		socket.setTimeout(CONNECT_TIMEOUT_MS, () => end(false));
		socket.on("connect", () => end(true));
		socket.on("error", () => end(false));
	});
}

async function set(client: RpcClient, entry: Registration, listen: string): Promise<void> {
	// The IPv6 wildcard is also the IPv4 one.
	const host = !entry.netid.endsWith("6") && isIP(listen) === 6 ? "0.0.0.0" : listen;
	const address = universalAddress(host, entry.port);
	const what = `program ${entry.program} version ${entry.version} (${entry.netid})`;
	const old = (await call(client, GETVERSADDR, entry, "")).string(1024);
	const at = located(old);
	if (at !== undefined && at.port !== entry.port && (await answers(at.host, at.port))) {
		throw new Error(`rpcbind names another server for ${what}, at port ${at.port}: stop it or turn portmap off`);
	}
	if (at !== undefined) await call(client, UNSET, entry, "");
	const done = await call(client, SET, entry, address);
	if (!done.bool()) throw new Error(`rpcbind refuses to register ${what}: run as root or turn portmap off`);
}

async function unsetAll(client: RpcClient, entries: readonly Registration[]): Promise<void> {
	for (const entry of entries) await call(client, UNSET, entry, "");
}

/** Registers all; rejects with one clear line and nothing left registered. Returns what unregisters. */
export async function register(
	entries: readonly Registration[],
	listen: string,
	socketPath: string,
): Promise<() => Promise<void>> {
	const open = (): Promise<RpcClient> => RpcClient.connect({ path: socketPath });
	let client: RpcClient;
	try {
		client = await open();
	} catch (cause) {
		throw new Error(`rpcbind cannot be reached at ${socketPath}: start it or turn portmap off`, { cause });
	}
	const done: Registration[] = [];
	try {
		for (const entry of entries) {
			await set(client, entry, listen);
			done.push(entry);
		}
	} catch (error) {
		await unsetAll(client, done).catch(() => {});
		throw error;
	} finally {
		client.close();
	}
	return async () => {
		const again = await open();
		try {
			await unsetAll(again, entries);
		} finally {
			again.close();
		}
	};
}
