/** Reports: written, read back, signed, chained; every change of a byte is found. */
import { execFileSync } from "node:child_process";
import { createPublicKey } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { faults } from "../../../native/index.js";
import { Catalog, catalogPaths } from "../../../src/catalog/index.js";
import { canonical } from "../../../src/verify/evidence/canonical.js";
import { decodeReport, encodeReport, type SignedReport, signReport } from "../../../src/verify/evidence/document.js";
import { decodePage } from "../../../src/verify/evidence/html/seal.js";
import {
	importReports,
	type KnownKeys,
	loadSigner,
	ownFingerprint,
	readReport,
	reportsFolder,
	type Signer,
	signerPaths,
	verifyFolder,
	verifyReport,
	writeReport,
} from "../../../src/verify/evidence/index.js";
import type { RunReport } from "../../../src/verify/model.js";
import { REPOSITORY, run, vm } from "./sample.js";

class Place {
	readonly root: string;
	readonly state: string;
	readonly folder: string;
	private constructor(
		t: Test,
		readonly signer: Signer,
		public catalog: Catalog,
		root: string,
	) {
		this.root = root;
		this.state = join(root, "state");
		this.folder = join(root, "reports");
		t.teardown(() => this.catalog.close());
	}
	static async make(t: Test): Promise<Place> {
		const root = t.testdir({});
		const state = join(root, "state");
		return new Place(t, await loadSigner(state), await Catalog.open(catalogPaths(state, join(state, "config"))), root);
	}
	write(report: RunReport, signer = this.signer) {
		return writeReport(report, this.folder, signer, this.catalog);
	}
	get keys(): KnownKeys {
		return new Map([[this.signer.fingerprint, "own" as const]]);
	}
	verify() {
		return verifyFolder(this.folder, this.keys, this.catalog.reports.list());
	}
}

t.test("a report is written as JSON and as a page, and both verify", async (t) => {
	const place = await Place.make(t);
	const report = run([vm("web1"), vm("db1", "failed", "service")]);
	const written = await place.write(report);
	for (const file of [written.json, written.html]) {
		t.equal(statSync(file).mode & 0o777, 0o600, "consoles and screens of guests are for the owner");
		const verdict = verifyReport(file, place.keys);
		t.match(verdict, { ok: true, faults: [], key: { known: "own" }, run: report.id });
		t.strictSame(readReport(file, readFileSync(file)).report, report);
		const stranger = verifyReport(file, new Map());
		t.match(stranger, {
			ok: false,
			key: { known: "no" },
			faults: [/not known here \([0-9a-f]{64}\): give it with --key/],
		});
	}
	t.match(written.chain, { sequence: 1, previous: null });
	t.strictSame(readdirSync(place.folder).sort(), [`${report.id}.html`, `${report.id}.json`]);
	t.match(place.catalog.reports.list(), [
		{
			run: report.id,
			result: "failed",
			file: written.json,
			sequence: 1,
			vms: [
				{ vm: "db1", result: "failed", fault: "service", timeToServiceMs: null },
				{ vm: "web1", result: "passed", fault: null, timeToServiceMs: 14_470 },
			],
		},
	]);
});

t.test("every changed, added or missing byte is found, over the whole file", async (t) => {
	const place = await Place.make(t);
	const small = vm("web1", "passed", null, { console: "login: \u0000\u001b[0m<b>", screenshots: [] });
	const { json, html } = await place.write(run([small]));
	for (const [file, decode, step] of [
		[json, decodeReport, 1],
		[html, decodePage, 7],
	] as const) {
		const good = readFileSync(file);
		t.strictSame(decode(good).faults, []);
		const missed: number[] = [];
		// Each offset of the JSON file, and each seventh of the page and all of its last 1,500, with a bit that changes.
		for (let at = 0; at < good.length; at++) {
			if (at % step !== 0 && at < good.length - 1_500) continue;
			const bad = Buffer.from(good);
			bad[at] ^= 1 << (at % 8);
			if (decode(bad).document !== undefined) missed.push(at);
		}
		t.strictSame(missed, [], `${file}: bits`);
		for (const at of [0, 1, 100, good.length >> 1, good.length - 2, good.length - 1, good.length])
			for (const bad of [
				Buffer.concat([good.subarray(0, at), Buffer.from(" "), good.subarray(at)]),
				...(at < good.length
					? [Buffer.concat([good.subarray(0, at), good.subarray(at + 1)]), good.subarray(0, at)]
					: []),
			])
				t.equal(decode(bad).document, undefined, `${file}: ${bad.length - good.length} bytes at ${at}`);
	}
	t.equal(decodeReport(Buffer.from(`${"[".repeat(500)}${"]".repeat(500)}`)).document, undefined);
	writeFileSync(json, "{".repeat(200_000));
	t.match(verifyReport(json, place.keys), { ok: false, faults: [/was changed or cut off|no report/] });
});

t.test("what somebody changed on purpose is found, also when it is signed again with another key", async (t) => {
	const place = await Place.make(t);
	const first = await place.write(run());
	const second = await place.write(run([vm("db1", "failed", "no-boot")]));
	const document = JSON.parse(readFileSync(second.json, "utf8")) as SignedReport;
	const forged = { ...document, report: { ...document.report, result: "passed" as const } };
	writeFileSync(second.json, encodeReport(forged));
	t.match(verifyReport(second.json, place.keys), { ok: false, faults: [/does not fit the content/] });

	const other = await loadSigner(join(place.root, "other"));
	const { signature: _, ...unsigned } = {
		...forged,
		key: { algorithm: "Ed25519" as const, public: other.publicKey, fingerprint: other.fingerprint },
	};
	writeFileSync(second.json, encodeReport({ ...unsigned, signature: other.sign(Buffer.from(canonical(unsigned))) }));
	t.match(verifyReport(second.json, place.keys), { ok: false, faults: [/a key that is not known here/] });
	t.match(place.verify().reports.find(({ file }) => file === second.json)?.faults, [/not known here/, /signed again/]);

	// A page whose words were changed, with a report in it that is as it was.
	const page = readFileSync(first.html, "utf8");
	writeFileSync(first.html, page.replaceAll("Passed", "Failed"));
	t.match(verifyReport(first.html, place.keys), { ok: false, faults: [/not as it was written: what it shows/] });
	// A page of one report with the embedded report of another.
	const [, block] = /id="springback-report">([\s\S]*?)<\/script>/.exec(readFileSync(second.html, "utf8"))!;
	writeFileSync(
		first.html,
		page.replace(/(id="springback-report">)[\s\S]*?(<\/script>)/, (_, a, b) => a + block + b),
	);
	t.match(verifyReport(first.html, place.keys), { ok: false, faults: [/not as it was written/] });
	writeFileSync(join(place.folder, `${"0".repeat(32)}.json`), readFileSync(first.json));
	t.match(verifyReport(join(place.folder, `${"0".repeat(32)}.json`), place.keys), { faults: [/under another name/] });
});

t.test("a document that somebody signed and that is no report harms nobody", async (t) => {
	const place = await Place.make(t);
	const good = run([vm("web1", "failed", "hang")]);
	const chain = { sequence: 1, previous: null };
	const forms: unknown[] = [
		{ ...good, vms: null },
		{ ...good, vms: [null] },
		{ ...good, vms: [{ ...good.vms[0], tests: [{}] }] },
		{ ...good, vms: [{ ...good.vms[0], fault: "__proto__" }] },
		{ ...good, vms: [{ ...good.vms[0], started: "yesterday" }] },
		{ ...good, id: "../../etc/passwd" },
		{ ...good, host: { ...good.host, versions: [] } },
		{ ...good, by: "root" },
		[],
	];
	for (const form of forms) {
		const file = join(place.folder, `${good.id}.json`);
		mkdirSync(place.folder, { recursive: true });
		writeFileSync(file, encodeReport(signReport(form as RunReport, chain, place.signer)));
		t.match(verifyReport(file, place.keys), { ok: false, faults: [/not what they should be/] });
		t.match(importReports(place.folder, place.catalog), { imported: 0, damaged: [file] });
	}
	for (const odd of [
		{ sequence: 0, previous: null },
		{ sequence: 1 },
		{ sequence: 2, previous: { run: "x", sha256: "y" } },
	])
		t.match(decodeReport(encodeReport(signReport(good, odd as never, place.signer))).faults, [/should be/]);
	t.strictSame(decodeReport(encodeReport(signReport(good, chain, place.signer))).faults, []);
});

t.test("a removed report is missed: by the next in the chain, and the newest by the catalogue", async (t) => {
	const place = await Place.make(t);
	const written = [];
	for (let n = 0; n < 4; n++) written.push(await place.write(run()));
	t.match(place.verify(), { missing: [], withoutPage: [], reports: Array(8).fill({ ok: true }) });
	t.strictSame(
		written.map(({ chain }) => chain.sequence),
		[1, 2, 3, 4],
	);
	t.match(written[2].chain.previous, { sha256: written[1].sha256 });

	rmSync(written[3].html);
	t.match(place.verify(), { missing: [], withoutPage: [/^[0-9a-f]{32}$/] });
	rmSync(written[1].json);
	rmSync(written[1].html);
	rmSync(written[3].json);
	const gone = verifyFolder(place.folder, place.keys);
	t.match(gone.missing, [/^run [0-9a-f]{32} is gone: [0-9a-f]{32} comes after it$/], "without a catalogue");
	t.equal(place.verify().missing.length, 2, "with it, also the newest");
	const next = await place.write(run());
	t.match(next.chain, { sequence: 5, previous: { sha256: written[3].sha256 } }, "the chain goes on where it was");
	t.equal(
		verifyFolder(place.folder, place.keys).missing.length,
		2,
		"so the one that was the newest is missed now, too",
	);
});

t.test("reports of several servers in one folder have chains of their own", async (t) => {
	const place = await Place.make(t);
	const other = await loadSigner(join(place.root, "other"));
	for (let n = 0; n < 2; n++) {
		await place.write(run());
		await place.write(run(), other);
	}
	await place.write(run([vm("web1")], { repository: { id: "f".repeat(32), path: "/elsewhere" } }));
	const keys = new Map([...place.keys, [other.fingerprint, "given" as const]]);
	const { reports, missing } = verifyFolder(place.folder, keys, place.catalog.reports.list());
	t.ok(reports.length === 10 && reports.every(({ ok }) => ok));
	t.strictSame(missing, []);
	t.strictSame(
		place.catalog.reports
			.list()
			.map(({ sequence }) => sequence)
			.sort(),
		[1, 1, 1, 2, 2],
	);
});

t.test("many at once take their places one after the other", async (t) => {
	const place = await Place.make(t);
	await Promise.all(Array.from({ length: 6 }, () => place.write(run())));
	t.strictSame(
		place.catalog.reports
			.list()
			.map(({ sequence }) => sequence)
			.sort(),
		[1, 2, 3, 4, 5, 6],
	);
	t.match(place.verify(), { missing: [], reports: Array(12).fill({ ok: true }) });
});

t.test("a lost catalogue gets its reports back from the files, and the chain goes on", async (t) => {
	const place = await Place.make(t);
	const at = (day: number) => ({ started: `2026-11-0${day}T01:00:00.000Z`, ended: `2026-11-0${day}T01:01:00.000Z` });
	for (let day = 1; day <= 3; day++) await place.write(run([vm("web1", "passed", null, at(day))], at(day)));
	const before = place.catalog.reports.list();
	place.catalog.close();
	for (const name of ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"])
		rmSync(join(place.state, name), { force: true });
	place.catalog = await Catalog.open(catalogPaths(place.state, join(place.state, "config")));
	writeFileSync(join(place.folder, `${"e".repeat(32)}.json`), "{}");
	writeFileSync(join(place.folder, "notes.txt"), "somebody's");
	t.match(importReports(place.folder, place.catalog), { imported: 3, damaged: [/e{32}\.json$/] });
	t.strictSame(place.catalog.reports.list(), before);
	t.equal(importReports(place.folder, place.catalog).imported, 0);
	const next = await place.write(run([vm("web1", "passed", null, at(4))], at(4)));
	t.equal(next.chain.sequence, 4);
	t.strictSame(
		place.catalog.reports
			.trend(REPOSITORY.id, "web1", 3, "2026-12-01T00:00:00Z")
			.map(({ started }) => started.slice(0, 10)),
		["2026-11-02", "2026-11-03", "2026-11-04"],
		"the newest, oldest first",
	);
});

t.test("points that were judged are told from those that were not", async (t) => {
	const place = await Place.make(t);
	const at = (id: string) => ({ point: { id, time: "2026-11-20T22:00:00Z" } });
	await place.write(
		run([
			vm("a", "passed", null, at("1")),
			vm("a", "failed", "hang", at("2")),
			vm("a", "failed", "infrastructure", at("3")),
			vm("a", "skipped", null, at("4")),
			vm("a", "warning", null, at("5")),
			vm("a", "cancelled", null, at("6")),
		]),
	);
	t.strictSame([...place.catalog.reports.verifiedPoints(REPOSITORY.id)].sort(), ["1", "2", "5"]);
	t.equal(place.catalog.reports.verifiedPoints("other").size, 0);
	t.equal(place.catalog.reports.list({ vm: "a" }).length, 1);
	t.equal(place.catalog.reports.list({ vm: "b" }).length, 0);
});

t.test("the key: made once, for its owner only, never replaced by accident", async (t) => {
	const state = join(t.testdir({}), "state");
	t.equal(ownFingerprint(state), undefined);
	const signers = await Promise.all(Array.from({ length: 4 }, () => loadSigner(state)));
	t.equal(new Set(signers.map(({ fingerprint }) => fingerprint)).size, 1, "four at once make one");
	const paths = signerPaths(state);
	t.equal(statSync(paths.private).mode & 0o777, 0o600);
	t.equal(statSync(state).mode & 0o777, 0o700);
	const der = createPublicKey(readFileSync(paths.public)).export({ type: "spki", format: "der" });
	t.equal(der.toString("base64"), signers[0].publicKey);
	t.equal(ownFingerprint(state), signers[0].fingerprint);

	chmodSync(paths.private, 0o640);
	await t.rejects(loadSigner(state), { code: "KEY", message: /others can read .*: chmod 600 / });
	chmodSync(paths.private, 0o600);
	const good = readFileSync(paths.private);
	writeFileSync(paths.private, good.subarray(0, 60));
	await t.rejects(loadSigner(state), { code: "KEY", message: /no Ed25519 key any more: restore it/ });
	writeFileSync(paths.private, good);
	t.equal((await loadSigner(state)).fingerprint, signers[0].fingerprint);
});

t.test("openssl alone verifies a report, as the documentation says", async (t) => {
	const place = await Place.make(t);
	const { json } = await place.write(run([vm("naïve-✓", "passed", null, { console: 'x,"signature":"y"}\n' })]));
	const script = `set -e
sed -E 's/,"signature":"[^"]*"\\}$/}/' "$1" | tr -d '\\n' >signed
sed -E 's/.*,"signature":"([^"]*)"\\}$/\\1/' "$1" | base64 -d >signature
openssl pkeyutl -verify -pubin -inkey "$2" -rawin -in signed -sigfile signature
openssl pkey -pubin -in "$2" -outform DER | sha256sum`;
	const args = ["-c", script, "sh", json, signerPaths(place.state).public];
	const said = execFileSync("sh", args, { cwd: place.root, encoding: "utf8" });
	t.match(said, /Signature Verified Successfully/);
	t.match(said, place.signer.fingerprint);
	const documented = readFileSync("docs/verification.md", "utf8");
	for (const line of script.split("\n").slice(1, 4))
		t.ok(documented.includes(line.replaceAll('"$1"', "RUN.json").replaceAll('"$2"', "report-key.pub")), line);
});

t.test("a fault while a report is written leaves the old state or the new one", async (t) => {
	const place = await Place.make(t);
	await place.write(run());
	for (const call of ["pwrite", "fsync", "rename"] as const) {
		faults.set([{ op: call, path: ".json", error: "EIO" }]);
		await t.rejects(place.write(run()), { code: "EIO" });
		faults.clear();
		t.match(place.verify(), { missing: [] }, call);
	}
	faults.set([{ op: "rename", path: ".html", error: "ENOSPC" }]);
	await t.rejects(place.write(run()), { code: "ENOSPC" });
	faults.clear();
	t.match(place.verify(), { missing: [], withoutPage: [/^[0-9a-f]{32}$/] }, "the report itself is there");
	t.equal((await place.write(run())).chain.sequence, 3);
	t.match(place.verify(), { missing: [], withoutPage: [] }, "the page is written by the next run");
	const pages = place.verify().reports.filter(({ form }) => form === "html");
	t.ok(pages.length === 3 && pages.every(({ ok }) => ok));
});

t.test("where reports are: in the repository, but not in an encrypted one", async (t) => {
	const root = t.testdir({ plain: { keys: {} }, secret: { keys: { a1: "" } } });
	t.equal(reportsFolder(join(root, "plain"), join(root, "state")), join(root, "plain", "reports"));
	t.equal(reportsFolder(join(root, "secret"), join(root, "state")), join(root, "state", "reports"));
});

t.test("canonical JSON is that of RFC 8785", async (t) => {
	// Its section 3.2.2 and 3.2.3.
	const numbers = JSON.parse("[333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]");
	t.equal(canonical({ numbers }), '{"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}');
	const names = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\ud83d\ude00", "\ufb33"];
	const shuffled = Object.fromEntries([3, 6, 0, 5, 1, 4, 2].map((i) => [names[i], i]));
	t.equal(canonical(shuffled), `{${names.map((name, i) => `${JSON.stringify(name)}:${i}`).join(",")}}`);
	t.equal(canonical({ b: undefined, a: [undefined, -0, "\u2028\ud800"] }), '{"a":[null,0,"\u2028\\ud800"]}');
	t.throws(() => canonical({ a: Number.NaN }), RangeError);
	t.throws(() => canonical(() => 1), TypeError);
	t.equal(canonical(JSON.parse('{"__proto__":1}')), '{"__proto__":1}');
});
