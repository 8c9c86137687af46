/** A copy of the built program in a directory of its own, as an installation has it. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectDirectory } from "../../scripts/lab/guests.js";

export const ADDON = "native/build/Release/springback.node";

/** @param version what it says that it is; left out: what it is */
export function installProgram(directory: string, version?: string): void {
	for (const name of ["package.json", "build/src", "build/native", ADDON, ...modules()])
		cpSync(join(projectDirectory, name), join(directory, name), { recursive: true });
	if (version === undefined) return;
	const manifest = join(directory, "package.json");
	writeFileSync(manifest, JSON.stringify({ ...JSON.parse(readFileSync(manifest, "utf8")), version }));
}

/** The installed modules that users get. */
function modules(): string[] {
	const lock = JSON.parse(readFileSync(join(projectDirectory, "package-lock.json"), "utf8"));
	const packages = Object.entries(lock.packages as Record<string, { dev?: boolean; optional?: boolean }>);
	return packages.filter(([path, { dev, optional }]) => path && !dev && !optional).map(([path]) => path);
}
