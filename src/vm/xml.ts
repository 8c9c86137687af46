/** XML of libvirt, read. It may come from anywhere: DOCTYPE, and with it entities of one's own, is refused. */
import { createRequire } from "node:module";
import { ConfigError, decode, MAX_CONFIG_BYTES } from "./text.js";

/** Every element is an array of these, so that one disk and two disks look the same. */
export type Element = Record<string, unknown>;

/** Loaded when XML is read or written, so that commands that do neither start sooner. */
export const xmlModule = (): typeof import("fast-xml-parser") => createRequire(import.meta.url)("fast-xml-parser");

/** Text that is well-formed and within limits; `what` names it in messages. Throws ConfigError. */
export function checkedXml(bytes: Uint8Array, what: string): string {
	if (bytes.length > MAX_CONFIG_BYTES) throw new ConfigError(`${what} larger than ${MAX_CONFIG_BYTES} bytes`);
	const text = decode(bytes, "UTF-8").replace(/^\ufeff/, "");
	if (/<!(DOCTYPE|ENTITY)/i.test(text)) throw new ConfigError(`${what} with a DOCTYPE is refused`);
	const valid = xmlModule().XMLValidator.validate(text);
	if (valid !== true) throw new ConfigError(`${what}, line ${valid.err.line}: ${valid.err.msg}`);
	return text;
}

/** The element `root` of a document. Throws ConfigError. */
export function parseXml(bytes: Uint8Array, root: string, what: string): Element {
	const text = checkedXml(bytes, what);
	const { XMLParser } = xmlModule();
	let document: unknown;
	try {
		document = new XMLParser({
			ignoreAttributes: false,
			attributeNamePrefix: "@",
			removeNSPrefix: true,
			parseTagValue: false,
			parseAttributeValue: false,
			isArray: (name: string) => !name.startsWith("@"),
			ignoreDeclaration: true,
			ignorePiTags: true,
		}).parse(text);
	} catch (cause) {
		throw new ConfigError(`${what}: ${(cause as Error).message.split("\n")[0]}`, { cause });
	}
	const found = first(isElement(document) ? document : undefined, root);
	if (!found) throw new ConfigError(`not a libvirt ${root}: no <${root}> element`);
	return found;
}

const isElement = (value: unknown): value is Element => typeof value === "object" && value !== null;

export function all(element: Element | undefined, name: string): Element[] {
	const value = element && Object.hasOwn(element, name) ? element[name] : undefined;
	if (!Array.isArray(value)) return [];
	return value.map((item) => (isElement(item) ? item : { "#text": item }));
}

export const first = (element: Element | undefined, name: string): Element | undefined => all(element, name)[0];

export function attribute(element: Element | undefined, name: string): string | undefined {
	const value = element && Object.hasOwn(element, `@${name}`) ? element[`@${name}`] : undefined;
	return typeof value === "string" ? value : undefined;
}

export function content(element: Element | undefined): string | null {
	const value = element?.["#text"];
	return typeof value === "string" && value.trim() !== "" ? value.trim() : null;
}

export const integer = (value: string | null | undefined): number | null =>
	value != null && /^\d{1,15}$/.test(value) ? Number(value) : null;

const ENTITIES: Readonly<Record<string, string>> = {
	"&": "&amp;",
	"<": "&lt;",
	">": "&gt;",
	'"': "&quot;",
	"'": "&apos;",
};

/** For text and attribute values alike; what XML cannot hold is left out. */
export const escapeXml = (text: string): string =>
	text.replace(/[&<>"']/g, (c) => ENTITIES[c]).replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "");
