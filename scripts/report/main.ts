/**
 * Turns the TAP stream on stdin into a line per test file, the failures, and a closing line `N passed, N failed`.
 * Exit 1 when anything failed, or nothing ran. With `CI` set a skipped test is a failure.
 *
 * Arguments: outcomes of checks that ran before, as `passed` or `failed`, which are counted too.
 */
import { createInterface } from "node:readline";
import { type FileReport, type Outcome, TapReader } from "./tap.js";

const count: Record<Outcome, number> = { passed: 0, failed: 0, skipped: 0 };
const strict = Boolean(process.env.CI);
const failuresShown = 60;

for (const outcome of process.argv.slice(2)) count[outcome === "passed" ? "passed" : "failed"]++;

const reader = new TapReader((file) => {
	for (const test of file.tests) count[strict && test.outcome === "skipped" ? "failed" : test.outcome]++;
	print(file);
});
for await (const line of createInterface({ input: process.stdin })) reader.line(line);
reader.end();

if (count.failed > 0) process.stdout.write("The tests' whole output is in build/test.tap and build/test.err.\n");
const { passed, failed, skipped } = count;
process.stdout.write(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;

function print(file: FileReport): void {
	const name = file.name.replace(/^build\/test\//, "").replace(/\.test\.js$/, "");
	const tests = `${file.tests.length} ${file.tests.length === 1 ? "test" : "tests"}`;
	const time = `${(file.time / 1000).toFixed(1)} s`;
	const word = file.tests.some((test) => test.outcome === "failed") ? "FAIL" : "ok";
	process.stdout.write(`${word.padEnd(5)}${name.padEnd(40)}${tests.padStart(10)}${time.padStart(9)}\n`);
	for (const test of file.tests) {
		if (test.outcome === "failed") process.stdout.write(`     failed: ${test.name}\n`);
		if (test.outcome === "skipped")
			process.stdout.write(`     skipped${strict ? " (a failure in CI)" : ""}: ${test.name}\n`);
	}
	for (const line of file.failures.slice(0, failuresShown)) process.stdout.write(`     | ${line}\n`);
}
