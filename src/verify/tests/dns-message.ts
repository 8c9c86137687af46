/** DNS messages (RFC 1035 section 4, RFC 3596, RFC 2782): a question, and what an answer says. */

export const TYPES: Readonly<Record<string, number>> = {
	A: 1,
	NS: 2,
	CNAME: 5,
	SOA: 6,
	PTR: 12,
	MX: 15,
	TXT: 16,
	AAAA: 28,
	SRV: 33,
};
const CODES = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

/** Throws Error with one line when the name is none. */
export const question = (id: number, name: string, type: string): Buffer => {
	const head = Buffer.alloc(12);
	head.writeUInt16BE(id, 0);
	// recursion desired
	head.writeUInt16BE(0x0100, 2);
	head.writeUInt16BE(1, 4);
	const tail = Buffer.alloc(4);
	tail.writeUInt16BE(TYPES[type], 0);
	tail.writeUInt16BE(1, 2);
	return Buffer.concat([head, encode(name), tail]);
};

const encode = (name: string): Buffer => {
	const labels = name
		.split(".")
		.filter((label) => label !== "")
		.map((label) => Buffer.from(label, "latin1"));
	const bytes = Buffer.concat([...labels.flatMap((label) => [Buffer.from([label.length]), label]), Buffer.from([0])]);
	if (bytes.length > 255 || labels.some((label) => label.length > 63))
		throw new Error(`"${name}" is not a domain name`);
	return bytes;
};

export interface DnsAnswer {
	/** "NOERROR", "NXDOMAIN", … */
	code: string;
	truncated: boolean;
	/** "example.org A 192.0.2.1", of the answer section */
	records: string[];
}

/** undefined: not an answer to this question. Throws nothing, whatever the bytes. */
export const answerTo = (asked: Buffer, data: Buffer): DnsAnswer | undefined => {
	try {
		return parse(asked, data);
	} catch {
		return undefined;
	}
};

const parse = (asked: Buffer, data: Buffer): DnsAnswer | undefined => {
	const flags = data.readUInt16BE(2);
	if (data.readUInt16BE(0) !== asked.readUInt16BE(0) || (flags & 0x8000) === 0) return undefined;
	const code = CODES[flags & 15] ?? `RCODE ${flags & 15}`;
	const truncated = (flags & 0x0200) !== 0;
	// Some servers leave the question out of a refusal.
	if (data.readUInt16BE(4) === 0) return { code, truncated, records: [] };
	const [name, at] = nameAt(data, 12);
	const [expected, end] = nameAt(asked, 12);
	if (name.toLowerCase() !== expected.toLowerCase() || data.readUInt16BE(at) !== asked.readUInt16BE(end))
		return undefined;
	const records: string[] = [];
	let next = at + 4;
	for (let i = 0; i < Math.min(data.readUInt16BE(6), 100) && next < data.length; i++) {
		const [owner, after] = nameAt(data, next);
		const type = data.readUInt16BE(after);
		const length = data.readUInt16BE(after + 8);
		const from = after + 10;
		if (from + length > data.length) break;
		const kind = Object.entries(TYPES).find(([, number]) => number === type)?.[0] ?? `TYPE${type}`;
		records.push(`${owner} ${kind} ${content(data, kind, from, length)}`);
		next = from + length;
	}
	return { code, truncated, records };
};

const content = (data: Buffer, kind: string, from: number, length: number): string => {
	const bytes = data.subarray(from, from + length);
	switch (kind) {
		case "A":
			return [...bytes].join(".");
		case "AAAA":
			return Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16))
				.join(":")
				.replace(/(?:^|:)0(?::0)+(?::|$)/, "::");
		case "MX":
			return `${bytes.readUInt16BE(0)} ${nameAt(data, from + 2)[0]}`;
		case "SRV":
			return `${bytes.readUInt16BE(0)} ${bytes.readUInt16BE(2)} ${bytes.readUInt16BE(4)} ${nameAt(data, from + 6)[0]}`;
		case "TXT": {
			const texts: string[] = [];
			for (let at = 0; at < bytes.length; at += 1 + bytes[at])
				texts.push(bytes.toString("utf8", at + 1, at + 1 + bytes[at]));
			return texts.join("");
		}
		case "NS":
		case "CNAME":
		case "PTR":
		case "SOA":
			return nameAt(data, from)[0];
		default:
			return bytes.toString("hex");
	}
};

/** The name at an offset, and the offset after it. Pointers lead backwards only, so that they end. Throws RangeError. */
const nameAt = (data: Buffer, start: number): [string, number] => {
	const labels: string[] = [];
	let at = start;
	let end = -1;
	for (let bytes = 0; ; ) {
		const length = data.readUInt8(at);
		if (length >= 0xc0) {
			if (end < 0) end = at + 2;
			const to = data.readUInt16BE(at) & 0x3fff;
			if (to >= at) throw new RangeError("a pointer that leads forward");
			at = to;
			continue;
		}
		if (length === 0) return [labels.join(".") || ".", end < 0 ? at + 1 : end];
		bytes += length + 1;
		if (length > 63 || bytes > 255) throw new RangeError("a name that is too long");
		labels.push(data.toString("latin1", at + 1, at + 1 + length));
		at += length + 1;
	}
};
