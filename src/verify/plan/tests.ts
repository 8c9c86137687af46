/** How tests are written: `- boot`, `- tcp: 22`, `- http: {path: /health}` with `name`, `timeout`, … beside the kind. */
import type { TestKind, TestSpec } from "../tests/contract.js";
import type { RoleTest } from "./description.js";
import { exampleOf, filledIn, optionSchema, readOptions, requiredOf, shortOption } from "./kind-options.js";
import { duration, flag, integer, type JsonSchema, type Shape, text } from "./shapes.js";
import { type Place, type Source, scalarOf, seen } from "./source.js";
import { may } from "./structures.js";
import { suggestion } from "./suggest.js";

/** Beside the kind, in the long form. */
const COMMON = {
	name: may(text("text"), "what reports call it"),
	timeout: may(duration, "limit of one attempt"),
	retries: may(integer(0, 1000), "further attempts after the first"),
	pause: may(duration, "between two attempts"),
	optional: may(flag, "a failure is only a warning"),
};
type Common = { name?: string; timeout?: number; retries?: number; pause?: number; optional?: boolean };

/** A test of a role, with all that its kind fills in. Throws when the kind is not there or refuses the options. */
export const completed = ({ kind: name, options = {}, ...given }: RoleTest, kinds: readonly TestKind[]): TestSpec => {
	const kind = kinds.find(({ kind }) => kind === name);
	if (kind === undefined) throw new Error(`a role has a test of a kind that is not there: ${name}`);
	const all = kind.options(options);
	return { kind: name, name: kind.title(all), ...kind.defaults, optional: false, ...given, options: all };
};

/** One test of any of the kinds. */
export const testShape = (kinds: readonly TestKind[]): Shape<TestSpec> => {
	const names = kinds.map(({ kind }) => kind);
	const words = `a test such as "- ${exampleOf(kinds.find((kind) => requiredOf(kind).length === 1) ?? kinds[0])}"`;
	return {
		words,
		schema: {
			anyOf: [
				{ enum: kinds.filter((kind) => requiredOf(kind).length === 0).map(({ kind }) => kind) },
				...kinds.map(longSchema),
			],
		},
		read(place, source) {
			const word = scalarOf(place);
			if (word === undefined) return readLong(kinds, words, place, source);
			const kind = kinds.find(({ kind }) => kind === word);
			if (kind === undefined)
				return source.fail(place, `there is no test ${seen(place)}: ${suggestion(String(word), names)}`);
			const [missing] = requiredOf(kind);
			if (missing !== undefined) source.fail(place, `"${word}" needs "${missing}": write ${exampleOf(kind)}`);
			return specOf(kind, filledIn(kind, {}, place, source), {});
		},
	};
};

const longSchema = (kind: TestKind): JsonSchema => {
	const schema = optionSchema(kind);
	const option = shortOption(kind);
	return {
		type: "object",
		description: kind.summary,
		properties: {
			[kind.kind]: {
				anyOf: [
					...(schema.required.length === 0 ? [{ type: "null" }] : []),
					...(option === undefined ? [] : [schema.properties[option]]),
					schema,
				],
			},
			...Object.fromEntries(
				Object.entries(COMMON).map(([key, { shape, summary }]) => [key, { description: summary, ...shape.schema }]),
			),
		},
		required: [kind.kind],
		additionalProperties: false,
	};
};

const readLong = (kinds: readonly TestKind[], words: string, place: Place, source: Source): TestSpec => {
	const names = kinds.map(({ kind }) => kind);
	const entries = source.entries(place) ?? source.fail(place, `${seen(place)} is not ${words}`);
	const common: Record<string, unknown> = {};
	let chosen: { kind: TestKind; value: Place } | undefined;
	for (const { key, keyPlace, value } of entries) {
		const kind = kinds.find(({ kind }) => kind === key);
		if (kind !== undefined) {
			if (chosen !== undefined) source.fail(keyPlace, `one test, not two: begin "${key}" with a dash of its own`);
			chosen = { kind, value };
		} else if (Object.hasOwn(COMMON, key)) common[key] = COMMON[key as keyof Common].shape.read(value, source);
		else
			source.fail(
				keyPlace,
				`"${key}" is neither a test nor a setting of one: ${suggestion(key, [...names, ...Object.keys(COMMON)])}`,
			);
	}
	if (chosen === undefined) return source.fail(place, `no test is named: ${suggestion("", names)}`);
	return specOf(chosen.kind, readOptions(chosen.kind, chosen.value, source), common);
};

const specOf = (kind: TestKind, options: Record<string, unknown>, common: Common): TestSpec => ({
	kind: kind.kind,
	name: common.name ?? kind.title(options),
	timeoutMs: common.timeout ?? kind.defaults.timeoutMs,
	retries: common.retries ?? kind.defaults.retries,
	retryMs: common.pause ?? kind.defaults.retryMs,
	optional: common.optional ?? false,
	options,
});
