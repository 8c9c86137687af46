/** A DNS server answers a question over UDP. */
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { isIPv6 } from "node:net";
import { type TestContext, TestFailure, type TestKind } from "./contract.js";
import { answerTo, type DnsAnswer, question, TYPES } from "./dns-message.js";
import { objectSchema, port, regex, text, withDefaults } from "./options.js";
import { search } from "./pattern.js";
import { quoted } from "./text.js";
import { inWords } from "./wire.js";

/** ms until a question is asked again: packets get lost */
const AGAIN_MS = 1000;

const schema = objectSchema({
	port: port("UDP port", 53),
	name: text("name asked for; without it, any answer of the server will do"),
	type: { type: "string", enum: Object.keys(TYPES), description: "type of record asked for", default: "A" },
	code: {
		type: "string",
		enum: ["NOERROR", "NXDOMAIN", "REFUSED", "any"],
		description: "expected response code; default NOERROR with a record, any without a name",
	},
	expect: regex('regular expression for one line of the answer: "example.org A 192.0.2.1"'),
});

interface Options {
	port: number;
	name?: string;
	type: string;
	code?: string;
	expect?: string;
}

export const dns: TestKind = {
	kind: "dns",
	summary: "a DNS server answers a question",
	schema,
	defaults: { timeoutMs: 10_000, retries: 5, retryMs: 5000 },
	options(given) {
		const options = withDefaults(schema, given) as unknown as Options;
		if (options.expect !== undefined && options.name === undefined) throw new Error("expect needs a name to ask for");
		question(0, options.name ?? ".", options.type);
		return options as unknown as Record<string, unknown>;
	},
	title: (options) => {
		const { name, type } = options as unknown as Options;
		return name === undefined ? "DNS" : `DNS ${type} ${name}`;
	},
	ports: ({ port }) => [{ protocol: "udp", port: port as number }],
	async run(given, context) {
		const options = given as unknown as Options;
		const began = performance.now();
		const { code, truncated, records } = await ask(options, context);
		const value = { name: "answer", unit: "ms", amount: Math.round(performance.now() - began) };
		const output = [code, ...records, ...(truncated ? ["(truncated)"] : [])].join("\n");
		const expected = options.code ?? (options.name === undefined ? "any" : "NOERROR");
		if (expected !== "any" && code !== expected)
			return { ok: false, message: `answered ${code}, expected ${expected}`, output };
		if (options.name !== undefined && options.code === undefined && records.length === 0)
			return { ok: false, message: `answered ${code} without a record`, output };
		const { expect } = options;
		if (expect !== undefined && !records.some((record) => search(expect, record)))
			return { ok: false, message: `answered ${quoted(records[0] ?? code)}, expected /${expect}/`, output };
		return { ok: true, message: `answered ${records.length > 0 ? quoted(records[0]) : code}`, output, value };
	},
};

const ask = async ({ port, name, type }: Options, context: TestContext): Promise<DnsAnswer> => {
	const endpoint = await context.endpoint({ protocol: "udp", port });
	const message = question(randomInt(65536), name ?? ".", name === undefined ? "NS" : type);
	const socket = createSocket(isIPv6(endpoint.host) ? "udp6" : "udp4");
	let again: NodeJS.Timeout | undefined;
	let interrupt = () => {};
	try {
		return await new Promise((resolve, reject) => {
			interrupt = () => reject(new TestFailure(`UDP port ${port} does not answer`));
			const fail = (error: NodeJS.ErrnoException) =>
				reject(new TestFailure(`UDP port ${port} ${error.code === "ECONNREFUSED" ? "is closed" : inWords(error)}`));
			context.signal.addEventListener("abort", interrupt, { once: true });
			if (context.signal.aborted) interrupt();
			socket.once("error", fail);
			// Connected: others cannot answer, and a closed port is told by ICMP.
			socket.connect(endpoint.port, endpoint.host, () => {
				const send = () => socket.send(message, (error) => error !== null && fail(error));
				send();
				again = setInterval(send, AGAIN_MS);
			});
			socket.on("message", (data) => {
				const answer = answerTo(message, data);
				if (answer !== undefined) resolve(answer);
			});
		});
	} finally {
		clearInterval(again);
		context.signal.removeEventListener("abort", interrupt);
		socket.close();
	}
};
