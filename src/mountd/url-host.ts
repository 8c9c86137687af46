/** The host part of the URL that clients are told. */
import { isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";

/** A wildcard is no address to mount from: the first outside address of this machine stands for it. */
export function urlHost(listen: string, interfaces = networkInterfaces()): string {
	const wildcard = listen === "0.0.0.0" || listen === "::";
	const address = wildcard ? outside(interfaces) : listen;
	return isIPv6(address) ? `[${address}]` : address;
}

function outside(interfaces: ReturnType<typeof networkInterfaces>): string {
	const own = Object.values(interfaces).flatMap((list) => list ?? []);
	const found = own.find((entry) => !entry.internal && entry.family === "IPv4") ?? own.find((entry) => !entry.internal);
	return found?.address ?? "127.0.0.1";
}
