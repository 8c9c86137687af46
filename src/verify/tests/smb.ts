/** A file server negotiates an SMB 2 or 3 dialect ([MS-SMB2] sections 2.2.3 and 2.2.4). Nobody logs on. */
import { randomBytes } from "node:crypto";
import type { TestKind } from "./contract.js";
import { objectSchema, port, withDefaults } from "./options.js";
import { Wire } from "./wire.js";

const schema = objectSchema({ port: port("TCP port", 445) });

/** 3.1.1 left out: it wants contexts, and whoever speaks it speaks these too. */
const DIALECTS = new Map([
	[0x0202, "2.0.2"],
	[0x0210, "2.1"],
	[0x0300, "3.0"],
	[0x0302, "3.0.2"],
]);
const HEADER_BYTES = 64;
const SIGNING_REQUIRED = 2;

export const smb: TestKind = {
	kind: "smb",
	summary: "a file server negotiates SMB 2 or 3",
	schema,
	defaults: { timeoutMs: 15_000, retries: 5, retryMs: 5000 },
	options: (given) => withDefaults(schema, given),
	title: ({ port }) => `SMB on port ${port}`,
	ports: ({ port }) => [{ protocol: "tcp", port: port as number }],
	async run(options, context) {
		const number = options.port as number;
		const wire = await Wire.open(context, { protocol: "tcp", port: number });
		try {
			wire.write(negotiate());
			// Direct TCP transport ([MS-SMB2] section 2.1): a zero byte and the length in three.
			const length = (await wire.take(4, "does not answer the SMB negotiation")).readUInt32BE(0);
			if (length < HEADER_BYTES + 8 || length > 0xffff)
				return { ok: false, message: `port ${number} does not speak SMB 2` };
			const answer = await wire.take(length, "does not answer the SMB negotiation");
			if (answer.readUInt32LE(0) !== 0x424d53fe || answer.readUInt16LE(12) !== 0)
				return { ok: false, message: `port ${number} does not speak SMB 2` };
			const status = answer.readUInt32LE(8);
			if (status !== 0)
				return { ok: false, message: `refuses to negotiate: status 0x${status.toString(16).padStart(8, "0")}` };
			const dialect = answer.readUInt16LE(HEADER_BYTES + 4);
			const name = DIALECTS.get(dialect);
			if (name === undefined)
				return { ok: false, message: `chooses a dialect that was not offered: 0x${dialect.toString(16)}` };
			const signing = (answer.readUInt16LE(HEADER_BYTES + 2) & SIGNING_REQUIRED) !== 0 ? ", signing required" : "";
			return { ok: true, message: `speaks SMB ${name}${signing}` };
		} finally {
			wire.close();
		}
	},
};

const negotiate = (): Buffer => {
	const header = Buffer.alloc(HEADER_BYTES);
	header.writeUInt32LE(0x424d53fe, 0);
	header.writeUInt16LE(HEADER_BYTES, 4);
	// credits asked for
	header.writeUInt16LE(1, 14);
	const body = Buffer.alloc(36 + 2 * DIALECTS.size);
	body.writeUInt16LE(36, 0);
	body.writeUInt16LE(DIALECTS.size, 2);
	// signing enabled
	body.writeUInt16LE(1, 4);
	randomBytes(16).copy(body, 12);
	for (const [i, dialect] of [...DIALECTS.keys()].entries()) body.writeUInt16LE(dialect, 36 + 2 * i);
	const length = Buffer.alloc(4);
	length.writeUInt32BE(header.length + body.length);
	return Buffer.concat([length, header, body]);
};
