/** Canonical JSON (RFC 8785): the same content is always the same bytes, so it can be signed. */

/** Members sorted by UTF-16 code units, no spaces; members that are undefined are left out. Throws on NaN and infinity. */
export const canonical = (value: unknown): string => {
	if (value === null || typeof value === "boolean" || typeof value === "string") return JSON.stringify(value);
	if (typeof value === "number") {
		if (!Number.isFinite(value)) throw new RangeError(`${value} has no place in JSON`);
		// Section 3.2.2.3: numbers as ECMAScript prints them; -0 is 0.
		return JSON.stringify(value);
	}
	if (Array.isArray(value)) return `[${value.map((item) => canonical(item === undefined ? null : item)).join(",")}]`;
	if (typeof value !== "object") throw new TypeError(`a ${typeof value} has no place in JSON`);
	const members = Object.entries(value)
		.filter(([, member]) => member !== undefined)
		.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
	return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`;
};
