/** The time line of a VM as inline SVG, and as a table for those who cannot see it. */
import type { VmReport } from "../../model.js";
import { line, span } from "../text.js";
import { momentInWords } from "../words.js";
import { html, type Markup } from "./markup.js";

const WIDTH = 960;
const LABELS = 250;
const RIGHT = 900;
const ROW = 24;
const TOP = 34;
/** longer time lines are cut, the table has them all */
const MOST_ROWS = 60;

export const timeline = (vm: VmReport, id: string): Markup => {
	const entries = [...vm.timeline].sort((a, b) => a.atMs - b.atMs);
	if (entries.length === 0) return html`<p class="quiet">No time line: the VM was never started.</p>`;
	const rows = entries.slice(0, MOST_ROWS);
	const end = Math.max(1, ...rows.map(({ atMs, tookMs }) => atMs + (tookMs ?? 0)));
	const x = (ms: number) => round(LABELS + (Math.max(0, ms) / end) * (RIGHT - LABELS));
	const height = TOP + rows.length * ROW + 8;
	const results = new Map(vm.tests.map(({ name, result }) => [`test:${name}`, result]));
	const powerOn = entries.find(({ what }) => what === "power-on")?.atMs;
	const marks = rows.map(({ what, atMs, tookMs, detail }, i) => {
		const y = TOP + i * ROW;
		const result = results.get(what);
		const kind = result === undefined ? (what === "stable" ? "good" : "plain") : `t-${result}`;
		const from = x(atMs);
		const to = tookMs === null ? from : Math.max(x(atMs + tookMs), from + 3);
		const time = tookMs === null || tookMs < 1 ? span(atMs) : `${span(atMs)}, took ${span(tookMs)}`;
		const left = to > RIGHT - 150;
		return html`<g><title>${momentInWords(what)}: ${time}${detail === null ? "" : `: ${line(detail)}`}</title>
<text class="label" x="${LABELS - 12}" y="${y + 16}" text-anchor="end">${cut(line(momentInWords(what)), 36)}</text>
${
	to === from
		? html`<circle class="mark ${kind}" cx="${from}" cy="${y + 12}" r="4.5"/>`
		: html`<rect class="mark ${kind}" x="${from}" y="${y + 6}" width="${round(to - from)}" height="12" rx="3"/>`
}
<text class="time" x="${left ? from - 9 : to + 9}" y="${y + 16}"${left ? html` text-anchor="end"` : ""}>${time}</text></g>`;
	});
	return html`<div class="plot"><svg class="chart" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="${id}-title">
<title id="${id}-title">Time line of ${vm.vm}: ${entries.length} moments in ${span(end)}; the table below has the same</title>
${ticks(end).map(
	(ms) => html`<line class="grid" x1="${x(ms)}" x2="${x(ms)}" y1="${TOP - 8}" y2="${height - 6}"/>
<text class="tick" x="${x(ms)}" y="${TOP - 14}" text-anchor="middle">${tick(ms)}</text>`,
)}
${
	powerOn !== undefined && vm.timeToServiceMs !== null
		? html`<rect class="service" x="${x(powerOn)}" y="${TOP - 6}" width="${round(Math.max(2, x(powerOn + vm.timeToServiceMs) - x(powerOn)))}" height="${height - TOP}"><title>Time to service: ${span(vm.timeToServiceMs)}</title></rect>`
		: ""
}
${marks}
</svg></div>
<details class="as-table"><summary>Time line as a table</summary>
<table><thead><tr><th scope="col">At</th><th scope="col">What</th><th scope="col">Took</th><th scope="col">Detail</th></tr></thead>
<tbody>${entries.map(
		({ what, atMs, tookMs, detail }) =>
			html`<tr><td class="number">${span(atMs)}</td><td>${momentInWords(what)}</td><td class="number">${tookMs === null ? "" : span(tookMs)}</td><td>${detail}</td></tr>
`,
	)}</tbody></table></details>`;
};

const STEPS = [50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 3e4, 6e4, 12e4, 3e5, 6e5, 12e5, 18e5, 36e5, 72e5];

const ticks = (end: number): number[] => {
	const step = STEPS.find((one) => end / one <= 8) ?? end / 8;
	return Array.from({ length: Math.floor(end / step) + 1 }, (_, i) => i * step);
};

/** Whole figures, for axes. */
const tick = (ms: number): string =>
	ms === 0 ? "0" : ms < 1_000 ? `${ms} ms` : ms < 12e4 ? `${ms / 1_000} s` : `${Number((ms / 6e4).toFixed(1))} min`;

const round = (n: number): number => Math.round(n * 10) / 10;

const cut = (text: string, length: number): string => (text.length > length ? `${text.slice(0, length - 1)}…` : text);
