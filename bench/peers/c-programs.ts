/**
 * The load generators in C: clients that share no code with what they measure. Compiled when their source is newer.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { projectDirectory } from "../../scripts/lab/guests.js";

/** Path of the compiled `bench/NAME.c` that needs no library where it runs: in a guest. */
export function staticProgram(name: string): string {
	const source = join(projectDirectory, "bench", `${name}.c`);
	const program = join(projectDirectory, "build/bench", name);
	mkdirSync(dirname(program), { recursive: true });
	const compiled = spawnSync("cc", ["-O2", "-Wall", "-static", "-o", program, source], { encoding: "utf8" });
	if (compiled.error) throw new Error("no C compiler (cc) found: run scripts/setup --bench");
	if (compiled.status !== 0) throw new Error(`bench/${name}.c does not compile: ${compiled.stderr.trim()}`);
	return program;
}

/** Path of the compiled `bench/NAME.c`. @param library that it uses; its Debian package is `libNAME-dev` */
export function cProgram(name: string, library: "nfs" | "nbd" = "nfs"): string {
	const source = join(projectDirectory, "bench", `${name}.c`);
	const program = join(projectDirectory, "build/bench", name);
	const built = statSync(program, { throwIfNoEntry: false })?.mtimeMs ?? 0;
	if (built > statSync(source).mtimeMs) return program;
	const libraries = [`-l${library}`, "-lpthread"];
	const compiled = spawnSync("cc", ["-O2", "-Wall", "-o", program, source, ...libraries], { encoding: "utf8" });
	if (compiled.error) throw new Error("no C compiler (cc) found: run scripts/setup --bench");
	if (compiled.status !== 0)
		throw new Error(
			`bench/${name}.c does not compile (is lib${library}-dev there? scripts/setup --bench): ${compiled.stderr.trim()}`,
		);
	return program;
}
