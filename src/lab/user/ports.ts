/** Free ports of 127.0.0.1 for QEMU to forward. */
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { LabError } from "../errors.js";

/** Below those that the kernel gives to connections of its own choice, so that none of these is gone when QEMU asks. */
const FIRST = 20_000;
const END = 32_000;
const TRIES = 500;

/** @param taken those that this process has given out already */
export const freePort = async (protocol: "tcp" | "udp", taken: ReadonlySet<number>): Promise<number> => {
	for (let n = 0; n < TRIES; n++) {
		const port = randomInt(FIRST, END);
		if (!taken.has(port) && (await isFree(protocol, port))) return port;
	}
	throw new LabError("FAILED", `127.0.0.1 has no free ${protocol} port between ${FIRST} and ${END}`);
};

const isFree = (protocol: "tcp" | "udp", port: number): Promise<boolean> =>
	new Promise((resolve) => {
		if (protocol === "tcp") {
			const server = createServer();
			server.once("error", () => resolve(false));
			server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
		} else {
			const socket = createSocket("udp4");
			socket.once("error", () => socket.close(() => resolve(false)));
			socket.bind(port, "127.0.0.1", () => socket.close(() => resolve(true)));
		}
	});
