/** The page: nothing of a guest becomes markup, nothing is loaded; what is in it for people. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Catalog, catalogPaths } from "../../../src/catalog/index.js";
import { signReport } from "../../../src/verify/evidence/document.js";
import { type History, page } from "../../../src/verify/evidence/html/page.js";
import { trend } from "../../../src/verify/evidence/html/trend.js";
import { loadSigner, writeReport } from "../../../src/verify/evidence/index.js";
import type { RunReport } from "../../../src/verify/model.js";
import { picture, run, test, vm } from "./sample.js";

const pageOf = async (root: string, report: RunReport, history: History = new Map()) =>
	page(signReport(report, { sequence: 1, previous: null }, await loadSigner(join(root, "state"))), history);

const EVIL = `</script></pre></style><img src=x onerror=alert(1)>"' onload='alert(1)\u202e\u0007\u001b]0;x\u0007<svg/onload=alert(2)>`;

t.test("whatever a guest says stays text", async (t) => {
	const evil = vm(EVIL, "failed", "service", {
		group: EVIL,
		role: EVIL,
		summary: EVIL,
		console: EVIL,
		addresses: [EVIL],
		generationId: EVIL,
		point: { id: EVIL, time: EVIL },
		disks: [{ name: EVIL, size: 1, identityBefore: EVIL, identityAfter: `${EVIL}2` }],
		timeline: [
			{ what: EVIL, atMs: 1, tookMs: 2, detail: EVIL },
			{ what: `test:${EVIL}`, atMs: 1, tookMs: null, detail: EVIL },
		],
		tests: [
			test(EVIL, {
				kind: EVIL,
				message: EVIL,
				output: EVIL,
				result: "failed",
				value: { name: EVIL, unit: EVIL, amount: 1 },
			}),
		],
		screenshots: [{ when: "end", png: `${picture().toString("base64")}"onerror="alert(1)` }],
	});
	const report = run([evil], {
		plan: EVIL,
		springback: EVIL,
		labMode: EVIL,
		repository: { id: EVIL, path: EVIL },
		host: { name: EVIL, type: EVIL, versions: { [EVIL]: EVIL } },
		by: { user: EVIL, machine: EVIL, command: EVIL },
	});
	const root = t.testdir({});
	const catalog = await Catalog.open(catalogPaths(join(root, "state"), join(root, "state", "config")));
	t.teardown(() => catalog.close());
	const { html } = await writeReport(report, join(root, "reports"), await loadSigner(join(root, "state")), catalog);
	const text = readFileSync(html, "utf8");
	const tags = new Set([...text.matchAll(/<\/?([a-zA-Z!][a-zA-Z]*)/g)].map(([, name]) => name));
	for (const name of ["img", "iframe", "object", "link"]) t.notOk(tags.has(name), name);
	t.equal([...text.matchAll(/<script/g)].length, 2, "only the two blocks of data");
	const shown = text.slice(0, text.indexOf('<script type="application/json"'));
	t.notMatch(shown.replaceAll(/"[^"]*"/g, '""'), /<[^>]*\son[a-z]+\s*=/, "no handler in any tag");
	t.notMatch(shown.replaceAll(/[\n\t]/g, ""), /[\p{Cc}\u202e]/u, "no control character");
	t.match(text, "is no PNG and is not shown");
});

t.test("nothing is loaded and no script runs", async (t) => {
	const text = await pageOf(t.testdir({}), run());
	t.match(
		text,
		/<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-[^']+'; img-src data:; base-uri 'none'; form-action 'none'">/,
	);
	for (const [, value] of text.matchAll(/\s(?:src|href|action|data|poster)="([^"]*)"/g))
		t.match(value, /^(#vm-\d+|data:image\/png;base64,[A-Za-z0-9+/=]+)$/);
	t.notMatch(text, /@import|url\(|\sstyle="/);
});

t.test("the worst comes first, in words", async (t) => {
	const report = run([
		vm("good"),
		vm("hung", "failed", "hang", { summary: "no sign of life after 10 min" }),
		vm("late", "warning"),
		vm("not-tried", "skipped", null, {
			timeline: [],
			tests: [],
			screenshots: [],
			console: "",
			disks: [],
			readToBoot: null,
		}),
	]);
	const text = await pageOf(t.testdir({}), report);
	t.strictSame(
		[...text.matchAll(/<h2 id="vm-\d-name">.*<\/span> (.*?)<\/h2>/g)].map(([, name]) => name),
		["hung", "late", "not-tried", "good"],
	);
	for (const words of [
		"1 of 4 restore points failed",
		"The guest began to boot and got no further.",
		"no sign of life after 10 min",
		"root for alice on backup1",
		"Restore verification, plan nightly",
		"✓ the same",
		"Place in the chain",
		"118.0 MiB",
		"14.5 s",
	])
		t.ok(text.includes(words), words);
	t.match(await pageOf(t.testdir({}), run([])), /Nothing was verified/);
	t.match(await pageOf(t.testdir({}), run([vm("a"), vm("b")])), /All 2 restore points boot and pass/);
	t.match(
		await pageOf(t.testdir({}), run([vm("a")], { result: "cancelled" })),
		/Cancelled: 1 restore point of 1 verified/,
	);
	const differs = vm("a", "failed", "damaged-data", {
		disks: [{ name: "disk0", size: 1, identityBefore: "aa", identityAfter: "bb" }],
	});
	t.match(await pageOf(t.testdir({}), run([differs])), /✕ differs: <code>bb<\/code>/);
});

t.test("the trend is what was measured", async (t) => {
	const at = (day: number, timeToServiceMs: number | null) => ({
		started: `2026-11-0${day}T01:00:00Z`,
		result: timeToServiceMs === null ? "failed" : "passed",
		timeToServiceMs,
	});
	const { text } = trend("web1", [at(1, 10_000), at(2, 20_000), at(3, null), at(4, 12_000), at(5, 14_000)], "x");
	t.match(text, "5 runs. Median 12.0 s");
	t.match(text, "2026-11-03 01:00:00 UTC: failed, never served");
	const heights = [...text.matchAll(/cy="([\d.]+)"/g)].map(([, y]) => Number(y));
	t.equal(heights.length, 4);
	t.ok(heights[1] < heights[3] && heights[3] < heights[2] && heights[2] < heights[0], "longer is higher");
	t.equal([...text.matchAll(/<polyline/g)].length, 2, "no line over a run that never served");
	t.match(trend("web1", [at(1, 10_000)], "x").text, /from the second run/);
	t.match(trend("web1", [at(1, null), at(2, null)], "x").text, /from the second run/);
});
