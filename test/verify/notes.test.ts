/** Notes of runs: who has them, what is left of those that were killed, and the folders of their tests. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Notes } from "../../src/verify/index.js";
import { cleanWork, sessionOf } from "../../src/verify/work-folders.js";
import { memoryFolder } from "../repository/helpers.js";

const RUN = "0123456789abcdef0123456789abcdef";
const OTHER = "f".repeat(32);

/** Another process that locks a run, as one that lives does. */
const elsewhere = async (directory: string, run: string) => {
	const notes = new URL("../../src/verify/notes.js", import.meta.url).href;
	const code = `import { Notes } from ${JSON.stringify(notes)};
		const run = new Notes(${JSON.stringify(directory)}).begin("${run}", null);
		run.add("labs", "00000001");
		console.log("up");
		process.stdin.resume();`;
	const env = { ...process.env, NODE_OPTIONS: "" };
	const child = spawn(process.execPath, ["--input-type=module", "-e", code], {
		stdio: ["pipe", "pipe", "inherit"],
		env,
	});
	await once(child.stdout, "data");
	return async () => {
		child.kill("SIGKILL");
		await once(child, "exit");
	};
};

t.test("a run that ends well leaves no file", (t) => {
	const directory = memoryFolder(t);
	const notes = new Notes(directory);
	const run = notes.begin(RUN, "esx1");
	t.strictSame(notes.living(), [], "nothing is noted yet");
	run.add("labs", "00000001");
	run.add("labs", "00000001");
	run.add("vms", "web");
	t.strictSame(run.note, { version: 1, run: RUN, host: "esx1", labs: ["00000001"], sessions: [], vms: ["web"] });
	run.drop("labs", "00000001");
	run.drop("vms", "web");
	run.end();
	t.strictSame(readdirSync(directory), []);
	t.end();
});

t.test("what is still noted is found by the next", (t) => {
	const notes = new Notes(memoryFolder(t));
	const run = notes.begin(RUN, null);
	run.add("sessions", "s");
	run.end();
	t.strictSame(notes.left(), [RUN]);
	const adopted = notes.adopt(RUN)!;
	t.strictSame(adopted.note.sessions, ["s"]);
	adopted.drop("sessions", "s");
	adopted.end();
	t.strictSame(notes.left(), []);
	t.equal(notes.adopt(RUN), undefined, "nothing is left of it");
	notes.tidy();
	t.end();
});

t.test("a run of a process that lives is nobody else's, until that is killed", async (t) => {
	const directory = memoryFolder(t);
	const notes = new Notes(directory);
	const kill = await elsewhere(directory, RUN);
	t.strictSame([notes.left(), notes.living(), notes.adopt(RUN)], [[], [RUN], undefined]);
	t.strictSame([...notes.liveLabs()], ["00000001"]);
	t.throws(() => notes.begin(RUN, null), { code: "BUSY" });
	notes.tidy();
	t.ok(existsSync(join(directory, `${RUN}.lock`)));
	await kill();
	t.strictSame([notes.left(), notes.living(), [...notes.liveLabs()]], [[RUN], [], []]);
});

t.test("of a run that was killed before its first note nothing is left", async (t) => {
	const directory = memoryFolder(t);
	const notes = new Notes(directory);
	for (const name of [`${RUN}.lock`, `${RUN}.json.new`, `${OTHER}.lock`, "something else.lock"])
		writeFileSync(join(directory, name), "");
	const kill = await elsewhere(directory, OTHER);
	notes.tidy();
	t.strictSame(readdirSync(directory).sort(), [`${OTHER}.json`, `${OTHER}.lock`, "something else.lock"]);
	await kill();
});

t.test("a note that cannot be read is not passed over", (t) => {
	const directory = memoryFolder(t);
	writeFileSync(join(directory, `${RUN}.json`), "{");
	t.throws(() => new Notes(directory).adopt(RUN), /cannot be read: what that run left must be found by hand/);
	t.end();
});

t.test("folders of tests, and what still runs in them", async (t) => {
	const directory = memoryFolder(t);
	const folders = [sessionOf(RUN, 0), sessionOf(OTHER, 3), "lab-00000001"].map((name) => join(directory, name));
	for (const folder of folders) mkdirSync(join(folder, "test-0"), { recursive: true });
	const sleeping = (cwd: string) => spawn("sleep", ["600"], { cwd, stdio: "ignore" });
	const gone = sleeping(join(folders[0], "test-0"));
	const stays = sleeping(folders[1]);
	const over = once(gone, "exit");
	await Promise.all([once(gone, "spawn"), once(stays, "spawn")]);
	const lines = await cleanWork(directory, () => [OTHER]);
	t.match(lines, [/verify-01234567-0 of a run that was killed, and 1 programs that ran there/]);
	t.strictSame(await over, [null, "SIGKILL"]);
	t.equal(stays.exitCode, null);
	t.strictSame(
		folders.map((folder) => existsSync(folder)),
		[false, true, true],
	);
	stays.kill("SIGKILL");
	await once(stays, "exit");
	t.strictSame(await cleanWork(join(directory, "not there"), () => []), []);
});
