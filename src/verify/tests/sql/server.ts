/** SQL Server tells its version in the answer to a PRELOGIN packet ([MS-TDS] sections 2.2.3.1 and 2.2.6.5). */
import { TestFailure } from "../contract.js";
import type { Wire } from "../wire.js";

const HEADER_BYTES = 8;
const PRELOGIN = 0x12;
const TABULAR_RESULT = 0x04;
const VERSION = 0;
const END = 0xff;

/** A sentence of what it is. Rejects with TestFailure. */
export const pingSqlServer = async (wire: Wire): Promise<string> => {
	const what = "does not answer SQL Server's pre-login";
	wire.write(prelogin());
	const head = await wire.take(HEADER_BYTES, what);
	const length = head.readUInt16BE(2) - HEADER_BYTES;
	if (head[0] !== TABULAR_RESULT || length < 7) throw new TestFailure("does not speak SQL Server's protocol");
	const body = await wire.take(length, what);
	for (let at = 0; at + 5 <= body.length && body[at] !== END; at += 5) {
		const offset = body.readUInt16BE(at + 1);
		if (body[at] !== VERSION || offset + 6 > body.length) continue;
		const build = body.readUInt16BE(offset + 2);
		return `SQL Server ${body[offset]}.${body[offset + 1]}.${build} accepts connections`;
	}
	throw new TestFailure("does not tell SQL Server's version");
};

/** Options VERSION and ENCRYPTION (not supported: nothing follows), then the end. */
const prelogin = (): Buffer => {
	const tokens = Buffer.from([VERSION, 0, 11, 0, 6, 1, 0, 17, 0, 1, END]);
	const values = Buffer.from([0, 0, 0, 0, 0, 0, 2]);
	const length = HEADER_BYTES + tokens.length + values.length;
	return Buffer.concat([Buffer.from([PRELOGIN, 1, 0, length, 0, 0, 1, 0]), tokens, values]);
};
