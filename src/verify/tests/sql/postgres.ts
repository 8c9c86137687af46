/**
 * PostgreSQL as far as it goes without a password: the start-up message of frontend/backend protocol 3.0. A server that
 * asks for authentication, or refuses this user, accepts connections. One that recovers or shuts down says so
 * (SQLSTATE 57P03).
 */
import { TestFailure } from "../contract.js";
import { oneLine } from "../text.js";
import type { Wire } from "../wire.js";

const METHODS: Readonly<Record<number, string>> = {
	2: "Kerberos",
	3: "password",
	5: "MD5",
	7: "GSSAPI",
	9: "SSPI",
	10: "SCRAM",
};

/** A sentence of what it is. Rejects with TestFailure. */
export const pingPostgres = async (wire: Wire, database: string): Promise<string> => {
	const what = "does not answer the PostgreSQL start-up message";
	const words = Buffer.from(`user\0springback\0database\0${database}\0application_name\0springback\0\0`);
	const head = Buffer.alloc(8);
	head.writeUInt32BE(8 + words.length, 0);
	head.writeUInt32BE(0x00030000, 4);
	wire.write(Buffer.concat([head, words]));
	let version: string | undefined;
	for (let messages = 0; messages < 100; messages++) {
		const start = await wire.take(5, what);
		const type = String.fromCharCode(start[0]);
		const length = start.readUInt32BE(1) - 4;
		if (!"REvSKZN".includes(type) || length < 0 || length > 0xffff)
			throw new TestFailure("does not speak PostgreSQL's protocol");
		const body = await wire.take(length, what);
		if (type === "E") return refusal(body);
		if (type === "R") {
			const method = body.readUInt32BE(0);
			if (method !== 0) return `PostgreSQL accepts connections (asks for ${METHODS[method] ?? `method ${method}`})`;
		}
		if (type === "S") {
			const [name, value] = body.toString("utf8").split("\0");
			if (name === "server_version") version = oneLine(value);
		}
		// ReadyForQuery: it let us in without a password.
		if (type === "Z") {
			wire.write(Buffer.from([0x58, 0, 0, 0, 4]));
			return `PostgreSQL ${version ?? ""} accepts connections`;
		}
	}
	throw new TestFailure("does not speak PostgreSQL's protocol");
};

/** ErrorResponse: fields of a letter and text. "C" is the SQLSTATE, "M" the message. */
const refusal = (body: Buffer): string => {
	const fields = new Map(
		body
			.toString("utf8")
			.split("\0")
			.map((field) => [field[0], field.slice(1)]),
	);
	const [state, message] = [fields.get("C") ?? "", oneLine(fields.get("M") ?? "")];
	// Class 28: who we are; 3D000: no such database. Both come from a server that works.
	if (state.startsWith("28") || state === "3D000") return "PostgreSQL accepts connections (refuses this user)";
	throw new TestFailure(`PostgreSQL refuses: ${message} (${oneLine(state)})`);
};
