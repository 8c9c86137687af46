import t from "tap";
import { type FileReport, TapReader } from "../../scripts/report/tap.js";

function read(text: string): FileReport[] {
	const files: FileReport[] = [];
	const reader = new TapReader((file) => files.push(file));
	for (const line of text.split("\n")) reader.line(line);
	reader.end();
	return files;
}

t.test("counts the tests at the top of each file", async (t) => {
	const files = read(`TAP version 14
# Subtest: build/test/a/x.test.js
    # Subtest: one
        ok 1 - inner
        1..1
    ok 1 - one # time=7.2ms

    ok 2 - bare
    1..2
ok 1 - build/test/a/x.test.js # time=41.5ms

# Subtest: build/test/a/y.test.js
    ok 1 - only
    1..1
ok 2 - build/test/a/y.test.js # time=3ms
1..2
# { total: 4, pass: 4 }`);
	t.strictSame(
		files.map(({ name, outcome, time, tests }) => ({ name, outcome, time, tests: tests.map((test) => test.name) })),
		[
			{ name: "build/test/a/x.test.js", outcome: "passed", time: 41.5, tests: ["one", "bare"] },
			{ name: "build/test/a/y.test.js", outcome: "passed", time: 3, tests: ["only"] },
		],
	);
});

t.test("a failure keeps its diagnostics, and what they quote counts for nothing", async (t) => {
	const [file] = read(`    # Subtest: bad
        not ok 1 - is equal
          ---
          source: |
            ok 9 - quoted
    not ok 8 - quoted too
          ...

        ok 2 - fine
          ---
          note: of a success
          ...
    not ok 1 - bad # time=2ms
      ---
      at: there
      ...
not ok 1 - z.test.js # time=4ms
  ---
  exitCode: 1
  ...
1..1`);
	t.strictSame(file.tests, [{ name: "bad", outcome: "failed" }]);
	t.equal(file.failures[0].trim(), "not ok 1 - is equal");
	t.equal(file.failures.at(-1)?.trim(), "...", "the innermost failure alone: not its parents, no success");
	t.equal(file.failures.length, 5);
});

t.test("skip and todo are skipped", async (t) => {
	const [file] = read(
		"    ok 1 - later # TODO\n    ok 2 - slow # SKIP no reason\n    ok 3 - # SKIP\nok 1 - f # time=1ms",
	);
	t.strictSame(
		file.tests.map((test) => [test.name, test.outcome]),
		[
			["later", "skipped"],
			["slow", "skipped"],
			["", "skipped"],
		],
	);
});

t.test("a file that crashes, exits badly after good tests, or has no tests counts itself", async (t) => {
	const files = read(`# Subtest: w
    1..0 # no tests found
not ok 1 - w # time=609.089ms
  ---
  exitCode: 1
  ...
# Subtest: y
    ok 1 - should be equal
    1..1
not ok 2 - y # time=4ms
  ---
  exitCode: 3
  ...
ok 3 - whole # SKIP not here`);
	t.ok(files[1].failures.includes("  exitCode: 3"), "the file's own diagnostics are kept");
	const outcomes = files.map((file) => file.tests);
	t.strictSame(outcomes, [
		[{ name: "the file itself", outcome: "failed" }],
		[
			{ name: "should be equal", outcome: "passed" },
			{ name: "the file itself", outcome: "failed" },
		],
		[{ name: "the file itself", outcome: "skipped" }],
	]);
});

t.test("a stream that breaks off is a failure", async (t) => {
	const [file] = read("# Subtest: x\n    ok 1 - one");
	t.equal(file.outcome, "failed");
	t.match(file.tests, [{ outcome: "passed" }, { outcome: "failed" }]);
});

t.test("a file whose tests stand between braces", async (t) => {
	const files = read("ok 1 - b # time=9ms {\n    ok 1 - one\n    1..1\n}\n\nnot ok 2 - c {\n    not ok 1 - two\n}");
	t.strictSame(
		files.map(({ name, outcome, tests }) => ({ name, outcome, tests })),
		[
			{ name: "b", outcome: "passed", tests: [{ name: "one", outcome: "passed" }] },
			{ name: "c", outcome: "failed", tests: [{ name: "two", outcome: "failed" }] },
		],
	);
});
