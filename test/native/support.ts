/** Shared by the native tests: scratch files, a pseudo-random generator, child processes that load the addon. */
import { spawn } from "node:child_process";
import { constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { sys } from "../../native/index.js";

export const addonUrl = new URL("../../native/index.js", import.meta.url).href;

/** A new file, open for reading and writing; closed at the end of the test. */
export function scratchFile(t: Test, name = "file"): { fd: number; path: string; dir: string } {
	const dir = mkdtempSync(join(tmpdir(), "springback-native-"));
	const path = join(dir, name);
	const fd = sys.open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
	t.teardown(() => {
		sys.close(fd);
		rmSync(dir, { recursive: true });
	});
	return { fd, path, dir };
}

/** xorshift32: the same bytes on every run. */
export function noise(length: number, seed: number): Buffer {
	const bytes = Buffer.alloc(length);
	let state = seed >>> 0 || 1;
	for (let i = 0; i < length; i++) {
		state ^= state << 13;
		state >>>= 0;
		state ^= state >>> 17;
		state ^= state << 5;
		state >>>= 0;
		bytes[i] = state;
	}
	return bytes;
}

/** Text-like bytes that compress. */
export function prose(length: number, seed: number): Buffer {
	const words = ["backup", "restore", "disk", "sector", "overlay", "commit", "block", "map", "pack", "lane"];
	const dice = noise(length, seed);
	let text = "";
	for (let i = 0; text.length < length; i++) text += `${words[dice[i % length] % words.length]} `;
	return Buffer.from(text.slice(0, length), "latin1");
}

export interface ChildResult {
	code: number | null;
	signal: NodeJS.Signals | null;
	stdout: string;
	stderr: string;
}

/** Runs a module's text in a child; `native` is the addon in it. */
export function child(script: string, env: Record<string, string> = {}, flags: string[] = []): Promise<ChildResult> {
	const source = `import * as native from ${JSON.stringify(addonUrl)};\n${script}`;
	const process_ = spawn(process.execPath, [...flags, "--input-type=module", "-e", source], {
		env: { ...process.env, ...env },
		stdio: ["ignore", "pipe", "pipe"],
	});
	let stdout = "";
	let stderr = "";
	process_.stdout.on("data", (chunk) => {
		stdout += chunk;
	});
	process_.stderr.on("data", (chunk) => {
		stderr += chunk;
	});
	return new Promise((resolve, reject) => {
		process_.on("error", reject);
		process_.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
	});
}
