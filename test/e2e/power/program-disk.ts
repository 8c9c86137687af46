/**
 * An ext4 image with what the tiny guest needs to run Springback: this Node.js, the libraries that it and the addon are
 * linked with, the compiled program and the modules that it loads, and a repository.
 */
import { copyFileSync, cpSync, mkdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { projectDirectory } from "../../../scripts/lab/guests.js";
import { ADDON, installProgram } from "../installed.js";
import { must } from "../workspace.js";

const LOADER = "/lib64/ld-linux-x86-64.so.2";

/** Shell lines for the guest; the image is its first disk. The repository is /program/repo. */
export const PREPARE = `load ext4
mkdir -p /program /lib64
mount -t ext4 -o ro /dev/vda /program || exit 1
ln -s /program/lib/ld-linux-x86-64.so.2 /lib64/
export LD_LIBRARY_PATH=/program/lib
springback() { /program/node /program/app/build/src/cli/main.js "$@"; }
`;

/** Makes the image in a directory that is free for it, and returns its path. */
export async function programDisk(directory: string, repository: string): Promise<string> {
	const root = join(directory, "program");
	mkdirSync(join(root, "lib"), { recursive: true });
	copyFileSync(process.execPath, join(root, "node"));
	for (const path of new Set([LOADER, ...(await libraries(process.execPath)), ...(await libraries(ADDON))]))
		copyFileSync(path, join(root, "lib", basename(path)));
	installProgram(join(root, "app"));
	cpSync(repository, join(root, "repo"), { recursive: true });
	const image = join(directory, "program.raw");
	await must("mkfs.ext4", ["-q", "-m", "0", "-O", "^has_journal", "-d", root, image, "256M"]);
	return image;
}

async function libraries(program: string): Promise<string[]> {
	const text = await must("ldd", [resolve(projectDirectory, program)]);
	return [...text.matchAll(/=> (\/\S+)/g)].map(([, path]) => path);
}
