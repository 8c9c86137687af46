/** A directory answers an anonymous search of its root entry, as RFC 4512 section 5.1 has it. */
import type { TestKind } from "./contract.js";
import { flag, objectSchema, port, regex, withDefaults } from "./options.js";
import { search } from "./pattern.js";
import { oneLine } from "./text.js";
import { Wire } from "./wire.js";

const schema = objectSchema({
	port: port("TCP port; default 389, with tls 636"),
	tls: flag("LDAP over TLS; any certificate (use the test tls for that)"),
	expect: regex('regular expression for one line "attribute: value" of the root entry'),
});

const ATTRIBUTES = [
	"namingContexts",
	"defaultNamingContext",
	"dnsHostName",
	"isSynchronized",
	"isGlobalCatalogReady",
	"supportedLDAPVersion",
	"vendorName",
	"vendorVersion",
];
const Tag = {
	integer: 2,
	octets: 4,
	enumerated: 10,
	sequence: 0x30,
	search: 0x63,
	entry: 0x64,
	done: 0x65,
	present: 0x87,
};
const UNBIND = Buffer.from([0x30, 0x05, 0x02, 0x01, 0x02, 0x42, 0x00]);

export const ldap: TestKind = {
	kind: "ldap",
	summary: "a directory answers a search of its root entry",
	schema,
	defaults: { timeoutMs: 15_000, retries: 5, retryMs: 5000 },
	options(given) {
		const options = withDefaults(schema, given);
		return { ...options, port: options.port ?? (options.tls ? 636 : 389) };
	},
	title: ({ port }) => `LDAP on port ${port}`,
	ports: ({ port }) => [{ protocol: "tcp", port: port as number }],
	async run(options, context) {
		const number = options.port as number;
		const wire = await Wire.open(context, { protocol: "tcp", port: number });
		try {
			if (options.tls) await wire.secure({ rejectUnauthorized: false, checkServerIdentity: () => undefined });
			wire.write(rootSearch());
			const lines: string[] = [];
			for (;;) {
				const { bytes, message } = await wire.read("does not answer an LDAP search", (data) => element(data));
				wire.drop(bytes);
				const [, operation] = message.tag === Tag.sequence ? elements(message.content) : [];
				if (operation?.tag === Tag.entry) lines.push(...attributes(operation.content));
				else if (operation?.tag === Tag.done) {
					const [code, , text] = elements(operation.content);
					const result = code?.content[0] ?? -1;
					if (result !== 0)
						return {
							ok: false,
							message: `answers the search with result ${result}: ${oneLine(text?.content.toString("utf8") ?? "")}`,
						};
					break;
				} else return { ok: false, message: `port ${number} does not speak LDAP` };
			}
			wire.write(UNBIND);
			const output = lines.join("\n");
			if (lines.length === 0) return { ok: false, message: "answers, but shows no root entry" };
			const expect = options.expect as string | undefined;
			if (expect !== undefined && !search(expect, output))
				return { ok: false, message: `the root entry does not match /${expect}/`, output };
			const context0 = lines.find((line) => /^(?:defaultNamingContext|namingContexts): ./i.test(line));
			return { ok: true, message: `answers, ${context0 ?? `${lines.length} values`}`, output };
		} finally {
			wire.close();
		}
	},
};

/** SearchRequest of RFC 4511 section 4.5.1: base object "", (objectClass=*), time limit 10 s. */
const rootSearch = (): Buffer =>
	ber(
		Tag.sequence,
		ber(Tag.integer, Buffer.from([1])),
		ber(
			Tag.search,
			ber(Tag.octets),
			ber(Tag.enumerated, Buffer.from([0])),
			ber(Tag.enumerated, Buffer.from([0])),
			ber(Tag.integer, Buffer.from([0])),
			ber(Tag.integer, Buffer.from([10])),
			ber(1, Buffer.from([0])),
			ber(Tag.present, Buffer.from("objectClass")),
			ber(Tag.sequence, ...ATTRIBUTES.map((name) => ber(Tag.octets, Buffer.from(name)))),
		),
	);

const ber = (tag: number, ...parts: Buffer[]): Buffer => {
	const content = Buffer.concat(parts);
	const length = content.length < 128 ? [content.length] : [0x82, content.length >> 8, content.length & 255];
	return Buffer.concat([Buffer.from([tag, ...length]), content]);
};

interface Element {
	tag: number;
	content: Buffer;
}

/** The first element; undefined when it is not all there. What is no BER becomes an element of tag 0. */
const element = (data: Buffer): { bytes: number; message: Element } | undefined => {
	if (data.length < 2) return undefined;
	let length = data[1];
	let head = 2;
	if (length > 127) {
		const count = length & 127;
		if (count === 0 || count > 4) return { bytes: data.length, message: { tag: 0, content: data } };
		if (data.length < 2 + count) return undefined;
		length = data.readUIntBE(2, count);
		head += count;
	}
	if (data.length < head + length) return undefined;
	return { bytes: head + length, message: { tag: data[0], content: data.subarray(head, head + length) } };
};

const elements = (data: Buffer): Element[] => {
	const list: Element[] = [];
	for (let rest = data; rest.length > 0; ) {
		const next = element(rest);
		if (next === undefined) break;
		list.push(next.message);
		rest = rest.subarray(next.bytes);
	}
	return list;
};

/** "attribute: value" of a SearchResultEntry. */
const attributes = (entry: Buffer): string[] => {
	const [, list] = elements(entry);
	return elements(list?.content ?? Buffer.alloc(0)).flatMap(({ content }) => {
		const [type, values] = elements(content);
		return elements(values?.content ?? Buffer.alloc(0)).map(
			(value) => `${oneLine(type.content.toString("utf8"))}: ${oneLine(value.content.toString("utf8"))}`,
		);
	});
};
