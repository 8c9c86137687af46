/** kill -9 of a real process that writes and tells what was acknowledged. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import t from "tap";
import { create, diskOf, lab, open, pattern, random, readAll, temporary } from "./lab.js";

const BLOCKS = 40;
const SIZE = 4096;

/** The child: writes numbered blocks as fast as it can; each acknowledgement is a line "block number". */
const child = async (directory: string, seed: number): Promise<void> => {
	const tree = await open(lab(directory));
	const disk = diskOf(tree);
	const chance = random(seed);
	process.stdout.write("ready\n");
	for (let i = 1; ; i += 4) {
		const blocks = new Set(Array.from({ length: 4 }, () => chance(BLOCKS)));
		await Promise.all(
			[...blocks].map(async (block, n) => {
				await tree.write(disk, block * SIZE, pattern(block, SIZE, i + n), chance(2) === 0);
				process.stdout.write(`${block} ${i + n}\n`);
			}),
		);
	}
};

const kill = async (process: ChildProcess): Promise<void> => {
	process.kill("SIGKILL");
	await once(process, "exit");
};

if (process.argv[2] === "child") await child(process.argv[3], Number(process.argv[4]));
else
	t.test("nothing acknowledged is lost, stable or not", async (t) => {
		const directory = join(temporary(t), "s");
		mkdirSync(directory);
		const made = await create(lab(directory));
		await made.close();
		for (let round = 1; round <= 5; round++) {
			const args = [process.argv[1], "child", directory, String(round)];
			const writer = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
			/** block → number of its last acknowledged content */
			const fresh = new Map<number, number>();
			const lines = createInterface({ input: writer.stdout });
			let count = 0;
			const enough = new Promise<void>((resolve) => {
				lines.on("line", (line) => {
					if (line === "ready") return;
					const [block, number] = line.split(" ").map(Number);
					fresh.set(block, number);
					if (++count === 300 * round) resolve();
				});
			});
			await enough;
			await Promise.all([kill(writer), once(lines, "close")]);
			const tree = await open(lab(directory));
			const disk = diskOf(tree);
			for (let block = 0; block < BLOCKS; block++) {
				const got = await readAll(tree, disk, block * SIZE, SIZE);
				const last = fresh.get(block);
				if (last === undefined) continue;
				// What came after the last acknowledged write may be there as well, whole.
				let found = -1;
				for (let n = last; n < last + 400 && found < 0; n++) if (got.equals(pattern(block, SIZE, n))) found = n;
				if (found < 0) return t.fail(`round ${round}: block ${block} has neither ${last} nor anything later`);
			}
			await tree.close();
			t.pass(`round ${round}: ${count} acknowledged writes`);
		}
	});
