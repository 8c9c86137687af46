/** The text of a plan as nodes with places, so that every complaint names file, line and column. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";

/** What is wrong in a plan, in one line: "FILE:LINE:COLUMN: what, and what would be right". */
export class PlanError extends Error {
	override readonly name = "PlanError";
	/** the command line was right, what it names is not: exit 2 */
	readonly code = "USAGE";
	constructor(
		readonly path: string,
		/** both from 1 */
		readonly line: number,
		readonly column: number,
		readonly what: string,
	) {
		super(`${path}:${line}:${column}: ${what}`);
	}
}

/** A value in the text: its node (null: nothing is written there), where it is, and how people call it. */
export interface Place {
	node: Node | null;
	/** characters from the start of the text */
	offset: number;
	/** "groups.shop.vms.db1"; "" for the whole plan */
	name: string;
}

/** Aliases may lead back to themselves. */
const DEEPEST = 40;

export class Source {
	readonly #lines = new LineCounter();
	readonly #document: ReturnType<typeof parseDocument>;
	readonly root: Place;

	/** Throws PlanError when the text is no YAML. */
	constructor(
		text: string,
		readonly path: string,
	) {
		this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
		const [fault] = [...this.#document.errors, ...this.#document.warnings];
		if (fault !== undefined) throw this.#error(fault.pos[0], oneLine(fault.message));
		this.root = this.#place(this.#document.contents as Node | null, 0, "", 0);
	}

	fail({ offset, name }: Place, what: string): never {
		throw this.#error(offset, name === "" ? what : `${name}: ${what}`);
	}

	/** Entries of a mapping; undefined when it is none. Keys are text. */
	entries(place: Place): { key: string; keyPlace: Place; value: Place }[] | undefined {
		const { node } = place;
		if (!isMap(node)) return undefined;
		return node.items.map(({ key, value }) => {
			const at = (key as Node | null)?.range?.[0] ?? place.offset;
			if (!isScalar(key) || key.value === null)
				return this.fail({ ...place, offset: at }, "a name is missing before the colon");
			const word = String(key.value);
			const name = place.name === "" ? word : `${place.name}.${word}`;
			return {
				key: word,
				keyPlace: { node: key, offset: at, name: place.name },
				value: this.#place(value as Node | null, at, name, depthOf(place) + 1),
			};
		});
	}

	/** Items of a list; undefined when it is none. */
	items(place: Place): Place[] | undefined {
		const { node } = place;
		if (!isSeq(node)) return undefined;
		return node.items.map((item, i) =>
			this.#place(item as Node | null, place.offset, `${place.name}[${i + 1}]`, depthOf(place) + 1),
		);
	}

	#place(written: Node | null, offset: number, name: string, depth: number): Place {
		const at = written?.range?.[0] ?? offset;
		const node = isAlias(written) ? (written.resolve(this.#document) ?? null) : written;
		const place: Deep = { node: isScalar(node) && node.value === null ? null : node, offset: at, name, depth };
		if (depth > DEEPEST) this.fail(place, "goes too deep: an alias (*) leads back to itself");
		return place;
	}

	#error(offset: number, what: string): PlanError {
		const { line, col } = this.#lines.linePos(offset);
		return new PlanError(this.path, Math.max(line, 1), Math.max(col, 1), what);
	}
}

interface Deep extends Place {
	depth: number;
}
const depthOf = (place: Place): number => (place as Partial<Deep>).depth ?? 0;

const oneLine = (message: string): string => message.replaceAll(/\s*\n\s*/g, " ").replace(/:$/, "");

/** The plain value of a scalar; undefined for anything else. */
export const scalarOf = ({ node }: Place): string | number | boolean | undefined => {
	if (!isScalar(node)) return undefined;
	const { value } = node;
	return typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? value : undefined;
};

/** What stands there, in words, for messages. */
export const seen = (place: Place): string => {
	const value = scalarOf(place);
	if (value !== undefined) {
		const text = JSON.stringify(value);
		return text.length > 60 ? `${text.slice(0, 57)}…` : text;
	}
	if (place.node === null) return "nothing";
	return isMap(place.node) ? "a mapping" : isSeq(place.node) ? "a list" : "something else";
};
