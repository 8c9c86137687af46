/** HTML whose every inserted value is escaped, unless it is markup made here. */
import { printable } from "../text.js";

export class Markup {
	constructor(readonly text: string) {}
}

export type Insert = Markup | string | number | null | undefined | false | readonly Insert[];

const ESCAPED: Readonly<Record<string, string>> = {
	"&": "&amp;",
	"<": "&lt;",
	">": "&gt;",
	'"': "&quot;",
	"'": "&#39;",
};

export const escaped = (text: string): string => printable(text).replace(/[&<>"']/g, (c) => ESCAPED[c]);

const inserted = (value: Insert): string => {
	if (value instanceof Markup) return value.text;
	if (value === null || value === undefined || value === false) return "";
	if (typeof value === "string") return escaped(value);
	if (typeof value === "number") return String(value);
	return value.map(inserted).join("");
};

/** Template of markup: `html\`<p>${fromTheGuest}</p>\``. Attributes must be in double quotes. */
export const html = (strings: TemplateStringsArray, ...values: Insert[]): Markup =>
	new Markup(strings.reduce((all, part, i) => all + inserted(values[i - 1]) + part));
