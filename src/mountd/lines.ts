/** Lines from a socket, as the control socket and the one for keys speak them. */
import type { Duplex } from "node:stream";

/** `take` gets each whole line. Ends the connection when one is longer than `longest` characters. */
export function onLines(socket: Duplex, take: (line: string) => void, longest = Number.POSITIVE_INFINITY): void {
	let pending = "";
	socket.setEncoding("utf8");
	socket.on("data", (text: string) => {
		pending += text;
		for (let end = pending.indexOf("\n"); end >= 0; end = pending.indexOf("\n")) {
			const line = pending.slice(0, end);
			pending = pending.slice(end + 1);
			take(line);
		}
		if (pending.length > longest) socket.destroy();
	});
}
