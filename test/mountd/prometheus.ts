/**
 * A strict reader of the Prometheus text format 0.0.4: refuses what a scraper would, and what promtool warns of
 * (families twice, samples without HELP and TYPE, histograms that do not add up, counters not named _total).
 */
export interface Family {
	type: string;
	help: string;
	samples: { name: string; labels: Record<string, string>; value: number }[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\[\\"n])*)"(,|$)/y;

export function parsePrometheus(text: string): Map<string, Family> {
	if (!text.endsWith("\n")) throw new Error("the last line does not end");
	const families = new Map<string, Family>();
	const seen = new Set<string>();
	let current: { name: string; family: Family } | undefined;
	for (const line of text.slice(0, -1).split("\n")) {
		const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
		if (comment) {
			const [, what, name, rest] = comment;
			if (!NAME.test(name)) throw new Error(`name: ${line}`);
			if (what === "HELP") {
				if (families.has(name)) throw new Error(`${name} twice`);
				current = { name, family: { type: "", help: rest, samples: [] } };
				families.set(name, current.family);
			} else {
				if (current?.name !== name || current.family.type) throw new Error(`TYPE without HELP: ${line}`);
				if (!["counter", "gauge", "histogram"].includes(rest)) throw new Error(`type: ${line}`);
				if (rest === "counter" && !name.endsWith("_total")) throw new Error(`counter ${name} without _total`);
				current.family.type = rest;
			}
			continue;
		}
		const sample = SAMPLE.exec(line);
		if (!sample || !current?.family.type) throw new Error(`sample: ${line}`);
		const [, name, list, number] = sample;
		const suffix = current.family.type === "histogram" ? /_(bucket|sum|count)$/ : /$/;
		if (name.replace(suffix, "") !== current.name || (current.family.type === "histogram" && name === current.name))
			throw new Error(`${name} in the family ${current.name}`);
		const labels = parseLabels(list ?? "", line);
		const key = `${name} ${JSON.stringify(Object.entries(labels).sort())}`;
		if (seen.has(key)) throw new Error(`series twice: ${line}`);
		seen.add(key);
		const value = Number(number);
		if (number === "" || !Number.isFinite(value)) throw new Error(`value: ${line}`);
		if (current.family.type !== "gauge" && value < 0) throw new Error(`negative: ${line}`);
		current.family.samples.push({ name, labels, value });
	}
	for (const [name, family] of families) {
		if (family.samples.length === 0) throw new Error(`${name} is empty`);
		if (family.type === "histogram") checkHistogram(name, family);
	}
	return families;
}

function parseLabels(list: string, line: string): Record<string, string> {
	const labels: Record<string, string> = {};
	LABEL.lastIndex = 0;
	while (LABEL.lastIndex < list.length) {
		const match = LABEL.exec(list);
		if (!match || Object.hasOwn(labels, match[1])) throw new Error(`labels: ${line}`);
		labels[match[1]] = match[2].replace(/\\(.)/g, (_, c: string) => (c === "n" ? "\n" : c));
	}
	return labels;
}

function checkHistogram(name: string, { samples }: Family): void {
	const series = new Map<string, { les: number[]; counts: number[]; count?: number; sum?: number }>();
	for (const { name: full, labels, value } of samples) {
		const { le, ...rest } = labels;
		const key = JSON.stringify(rest);
		const entry = series.get(key) ?? { les: [], counts: [] };
		series.set(key, entry);
		if (full === `${name}_bucket`) {
			entry.les.push(le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le));
			entry.counts.push(value);
		} else if (le !== undefined) throw new Error(`${full} with le`);
		else if (full === `${name}_count`) entry.count = value;
		else entry.sum = value;
	}
	for (const [key, { les, counts, count, sum }] of series) {
		if (les.at(-1) !== Number.POSITIVE_INFINITY) throw new Error(`${name} ${key} without +Inf`);
		if (counts.at(-1) !== count || sum === undefined) throw new Error(`${name} ${key}: count or sum`);
		for (let i = 1; i < les.length; i++)
			if (!(les[i] > les[i - 1]) || counts[i] < counts[i - 1]) throw new Error(`${name} ${key}: bucket ${les[i]}`);
	}
}

/** The value of one series; throws when it is not there. */
export function sampleValue(families: Map<string, Family>, name: string, labels: Record<string, string> = {}): number {
	const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ""));
	const found = family?.samples.find(
		(sample) =>
			sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
	);
	if (!found) throw new Error(`no ${name} ${JSON.stringify(labels)}`);
	return found.value;
}
