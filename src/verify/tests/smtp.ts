/** A mail server greets, and answers EHLO (RFC 5321 sections 3.1 and 4.1.1.1). No mail is sent. */
import type { TestKind } from "./contract.js";
import { flag, objectSchema, port, withDefaults } from "./options.js";
import { oneLine, quoted } from "./text.js";
import { Wire } from "./wire.js";

const schema = objectSchema({
	port: port("TCP port", 25),
	starttls: flag("it has to offer STARTTLS"),
});

interface Reply {
	code: number;
	lines: string[];
}

export const smtp: TestKind = {
	kind: "smtp",
	summary: "a mail server greets and answers EHLO",
	schema,
	// Mail servers may take their time with the greeting, for the sake of those who do not wait for it.
	defaults: { timeoutMs: 30_000, retries: 5, retryMs: 5000 },
	options: (given) => withDefaults(schema, given),
	title: ({ port }) => `SMTP on port ${port}`,
	ports: ({ port }) => [{ protocol: "tcp", port: port as number }],
	async run(options, context) {
		const number = options.port as number;
		const wire = await Wire.open(context, { protocol: "tcp", port: number });
		try {
			const greeting = await read(wire, "sends no SMTP greeting");
			const output = [...greeting.lines];
			if (greeting.code !== 220)
				return {
					ok: false,
					message: `port ${number} greets with ${quoted(greeting.lines[0])}, expected 220`,
					output: output.join("\n"),
				};
			wire.write("EHLO springback.invalid\r\n");
			const hello = await read(wire, "does not answer EHLO");
			output.push(...hello.lines);
			if (hello.code !== 250)
				return {
					ok: false,
					message: `answers EHLO with ${quoted(hello.lines[0])}, expected 250`,
					output: output.join("\n"),
				};
			wire.write("QUIT\r\n");
			const offers = hello.lines.slice(1).map((line) => line.slice(4).trim().toUpperCase());
			if (options.starttls === true && !offers.includes("STARTTLS"))
				return { ok: false, message: "does not offer STARTTLS", output: output.join("\n") };
			return { ok: true, message: `greets with ${quoted(greeting.lines[0])}`, output: output.join("\n") };
		} finally {
			wire.close();
		}
	},
};

/** A reply of one or more lines: "250-…" goes on, "250 …" is the last (section 4.2.1). */
const read = async (wire: Wire, what: string): Promise<Reply> => {
	const { lines, bytes } = await wire.read(what, (data) => {
		const text = data.toString("latin1");
		const end = /^\d{3}(?: [^\n]*)?\r?\n/m.exec(text) ?? /^(?!\d{3}[ \-\r\n])[^\n]*\n/m.exec(text);
		if (end === null) return undefined;
		const bytes = end.index + end[0].length;
		return { bytes, lines: data.toString("utf8", 0, bytes).trimEnd().split(/\r?\n/).map(oneLine) };
	});
	wire.drop(bytes);
	return { code: Number(/^\d{3}/.exec(lines.at(-1) ?? "")?.[0] ?? 0), lines };
};
