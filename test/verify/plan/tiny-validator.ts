/**
 * A small validator of JSON schema (draft 2020-12) for tests: plain values, no part of the parser. Throws on keywords that it
 * does not know, so that none is passed over.
 */
type Schema = Record<string, unknown>;

const NOTES = new Set(["$schema", "title", "description", "default", "format", "$defs"]);

/** `root`: where references point into. */
export const isValid = (schema: Schema, value: unknown, root: Schema = schema): boolean =>
	Object.entries(schema).every(([keyword, argument]) => {
		if (NOTES.has(keyword)) return true;
		if (!Object.hasOwn(KEYWORDS, keyword)) throw new Error(`the validator does not know "${keyword}"`);
		return KEYWORDS[keyword](argument as never, value, schema, root);
	});

const isObject = (value: unknown): value is Record<string, unknown> =>
	typeof value === "object" && value !== null && !Array.isArray(value);

const hasType = (type: string, value: unknown): boolean => {
	switch (type) {
		case "integer":
			return Number.isInteger(value);
		case "array":
			return Array.isArray(value);
		case "object":
			return isObject(value);
		case "null":
			return value === null;
		default:
			return typeof value === type;
	}
};

type Check = (argument: never, value: unknown, schema: Schema, root: Schema) => boolean;
const number = (check: (n: number, limit: number) => boolean): Check =>
	((limit: number, value: unknown) => typeof value !== "number" || check(value, limit)) as Check;
const length = (check: (n: number, limit: number) => boolean): Check =>
	((limit: number, value: unknown) => typeof value !== "string" || check([...value].length, limit)) as Check;
const items = (check: (n: number, limit: number) => boolean): Check =>
	((limit: number, value: unknown) => !Array.isArray(value) || check(value.length, limit)) as Check;
const least = (n: number, limit: number) => n >= limit;
const most = (n: number, limit: number) => n <= limit;

const KEYWORDS: Readonly<Record<string, Check>> = {
	type: ((types: string | string[], value: unknown) => [types].flat().some((type) => hasType(type, value))) as Check,
	enum: ((values: unknown[], value: unknown) => values.includes(value)) as Check,
	const: ((wanted: unknown, value: unknown) => wanted === value) as Check,
	minimum: number(least),
	maximum: number(most),
	minLength: length(least),
	maxLength: length(most),
	minItems: items(least),
	maxItems: items(most),
	pattern: ((pattern: string, value: unknown) =>
		typeof value !== "string" || new RegExp(pattern, "u").test(value)) as Check,
	items: ((schema: Schema, value: unknown, _: Schema, root: Schema) =>
		!Array.isArray(value) || value.every((item) => isValid(schema, item, root))) as Check,
	required: ((names: string[], value: unknown) =>
		!isObject(value) || names.every((name) => Object.hasOwn(value, name))) as Check,
	properties: ((properties: Record<string, Schema>, value: unknown, _: Schema, root: Schema) =>
		!isObject(value) ||
		Object.entries(properties).every(
			([name, schema]) => !Object.hasOwn(value, name) || isValid(schema, value[name], root),
		)) as Check,
	additionalProperties: ((rest: Schema | boolean, value: unknown, { properties = {} }: Schema, root: Schema) =>
		!isObject(value) ||
		Object.entries(value).every(
			([name, member]) =>
				Object.hasOwn(properties as object, name) || (typeof rest === "boolean" ? rest : isValid(rest, member, root)),
		)) as Check,
	propertyNames: ((schema: Schema, value: unknown, _: Schema, root: Schema) =>
		!isObject(value) || Object.keys(value).every((name) => isValid(schema, name, root))) as Check,
	minProperties: ((fewest: number, value: unknown) => !isObject(value) || Object.keys(value).length >= fewest) as Check,
	anyOf: ((schemas: Schema[], value: unknown, _: Schema, root: Schema) =>
		schemas.some((schema) => isValid(schema, value, root))) as Check,
	oneOf: ((schemas: Schema[], value: unknown, _: Schema, root: Schema) =>
		schemas.filter((schema) => isValid(schema, value, root)).length === 1) as Check,
	not: ((schema: Schema, value: unknown, _: Schema, root: Schema) => !isValid(schema, value, root)) as Check,
	$ref: ((pointer: string, value: unknown, _: Schema, root: Schema) => {
		const name = pointer.replace("#/$defs/", "");
		return isValid((root.$defs as Record<string, Schema>)[name], value, root);
	}) as Check,
};
