/**
 * Plots as SVG: lines over logarithmic axes, because growth is what they show. A straight line that rises with its
 * guide is linear growth; a flat one is none.
 */

export interface Line {
	name: string;
	/** both above 0, ascending in x */
	points: { x: number; y: number }[];
	/** a goal or a guide: dashed, without marks */
	guide?: boolean;
}

export interface Plot {
	/** of the file, without its extension */
	name: string;
	title: string;
	/** what and in which unit */
	x: string;
	y: string;
	lines: Line[];
}

const WIDTH = 760;
const HEIGHT = 460;
const LEFT = 84;
const RIGHT = 24;
const TOP = 48;
const BOTTOM = 64;
const ROW = 18;
/** of lines beside each other; told apart also without red and green (Okabe and Ito, "Color Universal Design", 2008) */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/** below so many decades an axis has marks at 2 and 5 too */
const FEW_DECADES = 3;

class Axis {
	readonly low: number;
	readonly high: number;

	constructor(
		values: number[],
		readonly from: number,
		readonly to: number,
	) {
		const least = Math.log10(Math.min(...values));
		const most = Math.log10(Math.max(...values));
		// Room beyond the outermost values; a single value still needs some.
		const room = Math.max(0.1, (most - least) * 0.06);
		this.low = least - room;
		this.high = most + room;
	}

	at(value: number): number {
		return this.from + ((Math.log10(value) - this.low) / (this.high - this.low)) * (this.to - this.from);
	}

	marks(): number[] {
		const steps = this.high - this.low < FEW_DECADES ? [1, 2, 5] : [1];
		const marks: number[] = [];
		for (let decade = Math.floor(this.low); decade <= this.high; decade++)
			for (const step of steps) {
				const log = decade + Math.log10(step);
				if (log >= this.low && log <= this.high) marks.push(step * 10 ** decade);
			}
		return marks;
	}
}

/** "1,000", "0.05", "10 M": what stands at a mark. */
export function label(value: number): string {
	if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3)).toLocaleString("en-US")} M`;
	return Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 9 });
}

/** The whole file. */
export function svg(plot: Plot): string {
	const all = plot.lines.flatMap(({ points }) => points);
	if (all.some(({ x, y }) => !(x > 0) || !(y > 0)))
		throw new Error(`${plot.name}: logarithmic axes want values above 0`);
	const legendRows = plot.lines.length;
	const height = HEIGHT + legendRows * ROW;
	const floor = HEIGHT - BOTTOM;
	const horizontal = new Axis(
		all.map(({ x }) => x),
		LEFT,
		WIDTH - RIGHT,
	);
	const vertical = new Axis(
		all.map(({ y }) => y),
		floor,
		TOP,
	);
	const parts = [
		`<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13">`,
		`<title>${escaped(plot.title)}</title>`,
		`<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
		text(WIDTH / 2, 26, plot.title, 'text-anchor="middle" font-size="16" font-weight="bold"'),
	];
	for (const mark of horizontal.marks()) {
		const x = horizontal.at(mark);
		parts.push(stroke(x, TOP, x, floor, "#dddddd"), text(x, floor + 18, label(mark), 'text-anchor="middle"'));
	}
	for (const mark of vertical.marks()) {
		const y = vertical.at(mark);
		parts.push(stroke(LEFT, y, WIDTH - RIGHT, y, "#dddddd"), text(LEFT - 8, y + 4, label(mark), 'text-anchor="end"'));
	}
	parts.push(
		`<rect x="${LEFT}" y="${TOP}" width="${WIDTH - RIGHT - LEFT}" height="${floor - TOP}" fill="none" stroke="#444444"/>`,
		text((LEFT + WIDTH - RIGHT) / 2, floor + 42, plot.x, 'text-anchor="middle"'),
		text(0, 0, plot.y, `text-anchor="middle" transform="translate(20 ${(TOP + floor) / 2}) rotate(-90)"`),
	);
	plot.lines.forEach((line, n) => {
		parts.push(...drawn(line, COLOURS[n % COLOURS.length], HEIGHT + n * ROW, horizontal, vertical));
	});
	return `${[...parts, "</svg>"].join("\n")}\n`;
}

function drawn({ name, points, guide }: Line, colour: string, legendAt: number, x: Axis, y: Axis): string[] {
	const dashes = guide ? ' stroke-dasharray="6 5"' : "";
	const path = points.map((point) => `${place(x.at(point.x))},${place(y.at(point.y))}`).join(" ");
	const marks = guide
		? []
		: points.map((p) => `<circle cx="${place(x.at(p.x))}" cy="${place(y.at(p.y))}" r="3.5" fill="${colour}"/>`);
	return [
		`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dashes}/>`,
		...marks,
		stroke(LEFT, legendAt, LEFT + 28, legendAt, colour, `stroke-width="2"${dashes}`),
		text(LEFT + 36, legendAt + 4, name),
	];
}

const place = (value: number): string => value.toFixed(1);

const stroke = (x1: number, y1: number, x2: number, y2: number, colour: string, more = ""): string =>
	`<line x1="${place(x1)}" y1="${place(y1)}" x2="${place(x2)}" y2="${place(y2)}" stroke="${colour}" ${more}/>`;

const text = (x: number, y: number, content: string, more = ""): string =>
	`<text x="${place(x)}" y="${place(y)}" fill="#222222" ${more}>${escaped(content)}</text>`;

const escaped = (content: string): string =>
	content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
