/**
 * Where the built guests are: runs the builders in `scripts/guests`, which answer from their cache when they can.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Top of the checkout, seen from build/scripts/lab. */
export const projectDirectory = fileURLToPath(new URL("../../../", import.meta.url));

/** Raw image of the Debian guest. Never write to it: copy it first, or use `snapshot`. */
export function debianImage(): string {
	return build("debian");
}

/** Raw image of the Debian guest with PostgreSQL, which takes half a minute to build. Never write to it. */
export function databaseImage(): string {
	return build("database");
}

/** Kernel and initramfs of the tiny guest. */
export function tinyGuest(): { kernel: string; initrd: string } {
	const directory = build("tiny");
	return { kernel: join(directory, "vmlinuz"), initrd: join(directory, "initrd.cpio") };
}

/** Raw image of the UEFI guest, which boots with Secure Boot. Never write to it. */
export function uefiImage(): string {
	return build("uefi");
}

/** Raw image of the small guest: it boots within seconds and serves a page. Never write to it: see `smallDisk`. */
export function smallImage(): string {
	return build("small");
}

/** Writes at `target` a copy of the Debian image in which some files changed, as after a day of use. */
export function evolveImage(source: string, target: string): void {
	build("evolve", source, target);
}

function build(name: string, ...args: string[]): string {
	const run = spawnSync(join(projectDirectory, "scripts/guests", name), args, {
		stdio: ["ignore", "pipe", "inherit"],
		encoding: "utf8",
	});
	if (run.error) throw run.error;
	if (run.status !== 0) throw new Error(`scripts/guests/${name} failed (exit ${run.status ?? run.signal})`);
	return run.stdout.trim();
}
