/** Time to service over the runs of a VM, as inline SVG. */
import { span, utc } from "../text.js";
import { html, type Markup } from "./markup.js";

/** One verification of a VM; the plot's own run is the last. */
export interface TrendPoint {
	/** UTC */
	started: string;
	result: string;
	/** ms; null: it never served */
	timeToServiceMs: number | null;
}

const WIDTH = 960;
const HEIGHT = 190;
const LEFT = 70;
const RIGHT = 940;
const TOP = 16;
const BOTTOM = 150;

/** `points` oldest first. */
export const trend = (vm: string, points: readonly TrendPoint[], id: string): Markup => {
	const served = points.filter(({ timeToServiceMs }) => timeToServiceMs !== null);
	if (points.length < 2 || served.length === 0)
		return html`<p class="quiet">A trend is drawn from the second run that this catalogue knows.</p>`;
	const top = niceTop(Math.max(...served.map(({ timeToServiceMs }) => timeToServiceMs!)));
	const x = (i: number) => round(LEFT + (i / (points.length - 1)) * (RIGHT - LEFT));
	const y = (ms: number) => round(BOTTOM - (ms / top) * (BOTTOM - TOP));
	const median = [...served.map(({ timeToServiceMs }) => timeToServiceMs!)].sort((a, b) => a - b)[
		Math.floor((served.length - 1) / 2)
	];
	// A run that never served interrupts the line: nothing is drawn where nothing was measured.
	const lines: string[][] = [[]];
	points.forEach(({ timeToServiceMs }, i) => {
		if (timeToServiceMs === null) lines.push([]);
		else lines.at(-1)!.push(`${x(i)},${y(timeToServiceMs)}`);
	});
	return html`<div class="plot"><svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-labelledby="${id}-title">
<title id="${id}-title">Time to service of ${vm} in ${points.length} runs: median ${span(median)}, this run ${
		points.at(-1)!.timeToServiceMs === null ? "never served" : span(points.at(-1)!.timeToServiceMs!)
	}</title>
${[0, 0.5, 1].map(
	(part) => html`<line class="grid" x1="${LEFT}" x2="${RIGHT}" y1="${y(top * part)}" y2="${y(top * part)}"/>
<text class="tick" x="${LEFT - 8}" y="${y(top * part) + 4}" text-anchor="end">${part === 0 ? "0" : span(top * part).replace(".0 ", " ")}</text>`,
)}
<line class="median" x1="${LEFT}" x2="${RIGHT}" y1="${y(median)}" y2="${y(median)}"><title>Median: ${span(median)}</title></line>
${lines.filter((line) => line.length > 1).map((line) => html`<polyline class="trend" points="${line.join(" ")}"/>`)}
${points.map(({ started, result, timeToServiceMs }, i) => {
	const last = i === points.length - 1;
	const title = html`<title>${utc(started)}: ${timeToServiceMs === null ? `${result}, never served` : `${span(timeToServiceMs)}, ${result}`}</title>`;
	if (timeToServiceMs === null)
		return html`<path class="mark t-failed cross" d="M${x(i) - 5},${BOTTOM - 5}l10,10m0,-10l-10,10">${title}</path>`;
	return html`<circle class="mark ${result === "passed" ? "good" : `t-${result}`}" cx="${x(i)}" cy="${y(timeToServiceMs)}" r="${last ? 6 : 4}">${title}</circle>`;
})}
<text class="tick" x="${LEFT}" y="${HEIGHT - 12}">${utc(points[0].started)}</text>
<text class="tick" x="${RIGHT}" y="${HEIGHT - 12}" text-anchor="end">this run</text>
</svg></div>
<p class="quiet">${points.length} runs. Median ${span(median)} (dashed). A cross: the VM never served.</p>`;
};

const round = (n: number): number => Math.round(n * 10) / 10;

/** The next of 1, 2, 5 × 10ⁿ that leaves some air. */
const niceTop = (most: number): number => {
	const wanted = Math.max(1, most * 1.08);
	const power = 10 ** Math.floor(Math.log10(wanted));
	return [1, 2, 3, 4, 5, 6, 8, 10].map((n) => n * power).find((n) => n >= wanted)!;
};
