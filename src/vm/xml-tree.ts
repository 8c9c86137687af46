/** XML as a tree that keeps order and everything in it, so that what is not understood comes out as it went in. */
import { xmlModule } from "./xml.js";

/** As fast-xml-parser has it: one key for the tag, and ":@" for the attributes. */
export type Node = Record<string, unknown>;

const ATTRIBUTES = ":@";
const TEXT = "#text";
const OPTIONS = {
	preserveOrder: true,
	ignoreAttributes: false,
	attributeNamePrefix: "@",
	processEntities: true,
} as const;

/** Text that was checked before (`checkedXml`). */
export const parseNodes = (text: string): Node[] =>
	new (xmlModule().XMLParser)({
		...OPTIONS,
		parseTagValue: false,
		parseAttributeValue: false,
		ignoreDeclaration: true,
		ignorePiTags: true,
	}).parse(text) as Node[];

export const writeNodes = (nodes: Node[]): string =>
	new (xmlModule().XMLBuilder)({ ...OPTIONS, suppressEmptyNode: true, suppressBooleanAttributes: false }).build(
		nodes,
	) as string;

export const node = (tag: string, attributes: Record<string, string>, content: string | Node[] = []): Node => ({
	[tag]: typeof content === "string" ? [{ [TEXT]: content }] : content,
	[ATTRIBUTES]: Object.fromEntries(Object.entries(attributes).map(([key, value]) => [`@${key}`, value])),
});

export const tagOf = (one: Node): string => Object.keys(one).find((key) => key !== ATTRIBUTES) ?? "";

/** The list itself: what is pushed to it is in the tree. */
export const children = (one: Node): Node[] => one[tagOf(one)] as Node[];

export const child = (one: Node | undefined, tag: string): Node | undefined =>
	one === undefined ? undefined : children(one).find((two) => tagOf(two) === tag);

export const attr = (one: Node | undefined, name: string): string | undefined =>
	(one?.[ATTRIBUTES] as Record<string, string> | undefined)?.[`@${name}`];

/** Undefined takes it away. */
export function setAttr(one: Node, name: string, value: string | undefined): void {
	one[ATTRIBUTES] ??= {};
	const attributes = one[ATTRIBUTES] as Record<string, string>;
	if (value === undefined) delete attributes[`@${name}`];
	else attributes[`@${name}`] = value;
}

/** In the place of the one with its tag, or at the end. */
export function setChild(one: Node, two: Node): void {
	const list = children(one);
	const at = list.findIndex((other) => tagOf(other) === tagOf(two));
	if (at < 0) list.push(two);
	else list[at] = two;
}

export function remove(one: Node, two: Node): void {
	const list = children(one);
	const at = list.indexOf(two);
	if (at >= 0) list.splice(at, 1);
}
