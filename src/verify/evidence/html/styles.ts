/** The style of reports: light and dark, on paper too. No font or picture is loaded from anywhere. */
export const STYLES = `
:root { color-scheme: light dark; --paper: #fff; --back: #f3f4f6; --ink: #16181d; --soft: #586070; --line: #d9dce2;
	--good: #11703a; --good-back: #e3f4e9; --bad: #b3261e; --bad-back: #fdeceb; --warn: #8a5300; --warn-back: #fdf1dc;
	--none-back: #eceef2; --accent: #2456c4; --serve: #2456c414; --mark: #5b7fd6; }
@media (prefers-color-scheme: dark) { :root { --paper: #191c22; --back: #111317; --ink: #e8eaee; --soft: #a3abba;
	--line: #363b46; --good: #62d394; --good-back: #163524; --bad: #ff9a92; --bad-back: #43201e; --warn: #f2bd62;
	--warn-back: #3d2f14; --none-back: #2a2e37; --accent: #93b4ff; --serve: #93b4ff1c; --mark: #7f9ff0; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 27px; line-height: 1.25; margin: 0 0 6px; }
h2 { font-size: 21px; margin: 0 0 6px; overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 26px 0 8px; padding-bottom: 4px; border-bottom: 1px solid var(--line); }
p { margin: 0 0 8px; max-width: 75ch; overflow-wrap: anywhere; }
a { color: var(--accent); }
a:focus-visible, summary:focus-visible, pre:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 12.5px; }
code { overflow-wrap: anywhere; }
.kicker { color: var(--soft); font-size: 13px; margin: 0 0 4px; }
.verdict { border-radius: 12px; padding: 22px 24px; margin: 0 0 20px; border: 1px solid var(--line); border-left-width: 10px; background: var(--paper); }
.verdict.r-passed { border-left-color: var(--good); background: var(--good-back); }
.verdict.r-failed { border-left-color: var(--bad); background: var(--bad-back); }
.verdict.r-warning { border-left-color: var(--warn); background: var(--warn-back); }
.verdict ul { margin: 10px 0 0; padding-left: 20px; }
.card, .vm { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 20px 24px; margin: 0 0 20px; }
.badge { display: inline-block; padding: 1px 9px; border-radius: 99px; font-size: 13px; font-weight: 600; white-space: nowrap; vertical-align: 2px; background: var(--none-back); color: var(--soft); border: 1px solid currentColor; }
.badge.r-passed { background: var(--good-back); color: var(--good); }
.badge.r-failed { background: var(--bad-back); color: var(--bad); }
.badge.r-warning { background: var(--warn-back); color: var(--warn); }
.badge.t-failed { background: var(--bad-back); color: var(--bad); }
.fault { border-left: 4px solid var(--bad); background: var(--bad-back); padding: 10px 14px; margin: 8px 0 12px; border-radius: 0 8px 8px 0; }
.fault p:last-child { margin: 0; }
.summary { font-size: 16px; }
.quiet, .note { color: var(--soft); }
.note { font-size: 12.5px; font-weight: 400; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(215px, 1fr)); gap: 12px 20px; margin: 14px 0 0; }
.facts div { min-width: 0; }
dt { color: var(--soft); font-size: 12.5px; }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
dd .note { display: block; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
thead th { color: var(--soft); font-size: 12.5px; font-weight: 600; overflow-wrap: normal; }
tbody th { font-weight: 600; min-width: 5.5em; overflow-wrap: break-word; }
.time { white-space: nowrap; }
.found { min-width: 12em; }
tbody tr:last-child > * { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:first-child { white-space: nowrap; }
.tests td:nth-child(3) { width: 52%; }
pre { background: var(--back); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; margin: 6px 0; max-height: 420px; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: 8px 0 0; }
summary { cursor: pointer; color: var(--accent); }
.screens { display: flex; flex-wrap: wrap; gap: 16px; }
figure { margin: 0; flex: 1 1 360px; max-width: 720px; }
img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 8px; background: #000; display: block; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 4px; }
.same { color: var(--good); font-weight: 600; white-space: nowrap; }
.differs { color: var(--bad); }
.chart { width: 100%; height: auto; display: block; font: 12px system-ui, "DejaVu Sans", sans-serif; }
.chart text { fill: var(--ink); }
.chart .tick, .chart .time { fill: var(--soft); font-size: 11.5px; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .service { fill: var(--serve); }
.chart .mark { fill: var(--mark); }
.chart .good, .chart .t-passed { fill: var(--good); }
.chart .t-failed { fill: var(--bad); }
.chart .t-warning { fill: var(--warn); }
.chart .t-skipped, .chart .t-cancelled { fill: var(--soft); }
.chart .cross { fill: none; stroke: var(--bad); stroke-width: 2.5; }
.chart .trend { fill: none; stroke: var(--mark); stroke-width: 2; }
.chart .median { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 5 4; }
@media screen and (max-width: 760px) {
	main { padding: 12px 10px 40px; }
	.card, .vm, .verdict { padding: 16px; }
	.wide table { min-width: 720px; }
	.chart { min-width: 640px; }
	.plot { overflow-x: auto; }
}
@media print {
	@page { margin: 14mm; }
	:root { color-scheme: light; --paper: #fff; --back: #fff; --ink: #000; --soft: #444; --line: #bbb; --good: #0d5c2f;
		--good-back: #fff; --bad: #a11b14; --bad-back: #fff; --warn: #704300; --warn-back: #fff; --none-back: #fff;
		--accent: #000; --serve: #0000000d; --mark: #3c5fb8; }
	body { font-size: 11px; }
	main { max-width: none; padding: 0; }
	.card, .vm, .verdict { break-inside: auto; border-radius: 0; padding: 12px 0; border-width: 0 0 1px; }
	.verdict { border-left-width: 6px; padding-left: 12px; }
	.vm { break-before: page; }
	h2, h3, figure, tr, svg { break-inside: avoid; }
	h2, h3 { break-after: avoid; }
	h1 { font-size: 19px; }
	h2 { font-size: 15px; }
	h3 { font-size: 12px; margin: 14px 0 5px; }
	table, .summary { font-size: 10px; }
	thead th, .note, dt, .badge, figcaption, .kicker { font-size: 9px; }
	th, td { padding: 4px 8px 4px 0; }
	code, pre { font-size: 8.5px; }
	.wide, .plot { overflow: visible; }
	.time { white-space: normal; }
	pre { max-height: none; }
	details::details-content { content-visibility: visible; block-size: auto; }
	.as-table { display: none; }
	a { text-decoration: none; }
}
`;
