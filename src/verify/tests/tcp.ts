/** A TCP port accepts connections; optionally, what it says first. */
import type { TestKind } from "./contract.js";
import { objectSchema, port, regex, text, withDefaults } from "./options.js";
import { search } from "./pattern.js";
import { oneLine, quoted } from "./text.js";
import { Wire } from "./wire.js";

const schema = objectSchema(
	{
		port: port("TCP port of the guest"),
		send: text("sent once connected; JSON escapes such as \\r\\n work"),
		expect: regex("regular expression for what the port answers within 64 KiB; without it, a connection is enough"),
	},
	["port"],
);

export const tcp: TestKind = {
	kind: "tcp",
	summary: "a TCP port accepts connections, and says what is expected",
	schema,
	defaults: { timeoutMs: 10_000, retries: 5, retryMs: 5000 },
	options: (given) => withDefaults(schema, given),
	title: ({ port }) => `TCP port ${port}`,
	ports: ({ port }) => [{ protocol: "tcp", port: port as number }],
	async run(options, context) {
		const number = options.port as number;
		const expect = options.expect as string | undefined;
		const wire = await Wire.open(context, { protocol: "tcp", port: number });
		try {
			const value = { name: "connect", unit: "ms", amount: round(wire.connectedMs) };
			if (options.send !== undefined) wire.write(options.send as string);
			if (expect === undefined) return { ok: true, message: `port ${number} accepts connections`, value };
			let searched = -1;
			let said = "";
			try {
				await wire.read(`accepts connections but does not say /${expect}/`, (data) => {
					if (data.length === searched) return undefined;
					searched = data.length;
					said = data.toString("utf8");
					return search(expect, said) ? said : undefined;
				});
			} catch (error) {
				if (said === "") throw error;
				return { ok: false, message: `port ${number} says ${quoted(said)}, expected /${expect}/`, output: said };
			}
			return { ok: true, message: `port ${number} says ${quoted(oneLine(said))}`, output: said, value };
		} finally {
			wire.close();
		}
	},
};

const round = (ms: number): number => Math.round(ms * 10) / 10;
