/** The text that LVM keeps its metadata in: sections, and keys with numbers, strings or lists (lvm.conf(5), FILE FORMAT). */

export interface ConfigNode {
	[key: string]: ConfigNode | ConfigValue | ConfigValue[];
}
export type ConfigValue = string | number;

const TOKEN = /\s+|#[^\n]*|"((?:[^"\\]|\\.)*)"|(-?\d+(?:\.\d+)?)(?![\w.+-])|([A-Za-z0-9_.+/@-]+)|([{}[\]=,])|(.)/gs;
const MAX_DEPTH = 10;
const MAX_TOKENS = 2_000_000;

interface Token {
	kind: "string" | "number" | "name" | "sign";
	text: string;
}

/** Throws Error with a line that says where it stops to make sense. */
export const parseConfig = (text: string): ConfigNode => {
	const tokens = tokensOf(text.replace(/\0+$/, ""));
	let at = 0;
	const node = (depth: number): ConfigNode => {
		// Names come from a disk: none of them may be a property that every object has.
		const into: ConfigNode = Object.create(null);
		while (at < tokens.length && tokens[at].text !== "}") {
			const key = tokens[at++];
			const sign = tokens[at++]?.text;
			if (key.kind === "sign" || depth > MAX_DEPTH) throw new Error("the text cannot be read");
			if (sign === "{") {
				into[key.text] = node(depth + 1);
				if (tokens[at++]?.text !== "}") throw new Error(`the section ${key.text} has no end`);
			} else if (sign === "=") into[key.text] = value();
			else throw new Error("the text cannot be read");
		}
		return into;
	};
	const single = (): ConfigValue => {
		const token = tokens[at++];
		if (token === undefined || token.kind === "sign") throw new Error("a value is missing");
		return token.kind === "number" ? Number(token.text) : token.text;
	};
	const value = (): ConfigValue | ConfigValue[] => {
		if (tokens[at]?.text !== "[" || tokens[at].kind !== "sign") return single();
		at++;
		const list: ConfigValue[] = [];
		while (at < tokens.length && tokens[at].text !== "]") {
			list.push(single());
			if (tokens[at]?.text === ",") at++;
		}
		if (tokens[at++]?.text !== "]") throw new Error("a list has no end");
		return list;
	};
	const root = node(0);
	if (at < tokens.length) throw new Error("the text cannot be read");
	return root;
};

const tokensOf = (text: string): Token[] => {
	const tokens: Token[] = [];
	for (const [, string, number, name, sign, other] of text.matchAll(TOKEN)) {
		if (other !== undefined || tokens.length > MAX_TOKENS) throw new Error("the text cannot be read");
		if (string !== undefined) tokens.push({ kind: "string", text: string.replace(/\\(.)/g, "$1") });
		else if (number !== undefined) tokens.push({ kind: "number", text: number });
		else if (name !== undefined) tokens.push({ kind: "name", text: name });
		else if (sign !== undefined) tokens.push({ kind: "sign", text: sign });
	}
	return tokens;
};

const isNode = (value: ConfigNode[string] | undefined): value is ConfigNode =>
	typeof value === "object" && !Array.isArray(value);

/** An empty one where there is none. */
export const section = (node: ConfigNode, name: string): ConfigNode => {
	const value = node[name];
	return isNode(value) ? value : {};
};

export const sectionsOf = (node: ConfigNode): [string, ConfigNode][] =>
	Object.entries(node).filter((entry): entry is [string, ConfigNode] => isNode(entry[1]));

export const textOf = (node: ConfigNode, name: string): string | undefined => {
	const value = node[name];
	return typeof value === "string" ? value : undefined;
};

/** A whole number from 0 on. */
export const wholeOf = (node: ConfigNode, name: string): number | undefined => {
	const value = node[name];
	return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
};
