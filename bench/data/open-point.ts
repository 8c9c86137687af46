/**
 * A process of its own that opens a repository, and one disk of the newest restore point of a VM, and reads a block of it; prints
 * what each took in ms, and its resident anonymous memory after a garbage collection with all of the repository's index in use.
 *
 *   node --expose-gc open-point.js REPOSITORY VM
 */
import { openRepository } from "../../src/repository/index.js";
import { anonymousBytes } from "../measure/memory.js";

export interface Opened {
	/** ms */
	repository: number;
	/** finding the point, which is named by its id */
	point: number;
	disk: number;
	read: number;
	/** resident anonymous bytes, and those that are in use: objects and buffers */
	memory: number;
	live: number;
}

const [path, vm] = process.argv.slice(2);
const newest = await (async () => {
	const repository = await openRepository(path);
	const { id } = await repository.resolve(vm);
	await repository.close();
	return id;
})();

const times: number[] = [performance.now()];
const lap = () => times.push(performance.now());
const repository = await openRepository(path);
lap();
const point = await repository.resolve(`${vm}@${newest}`);
lap();
const image = await repository.openDisk(point, point.disks[0].name);
lap();
// Its first block holds data.
await image.read(0, Buffer.alloc(4096));
lap();
(globalThis as { gc?: () => void }).gc?.();
const [opening, finding, disk, read] = times.slice(1).map((time, n) => time - times[n]);
const { heapUsed, external } = process.memoryUsage();
const live = heapUsed + external;
const opened: Opened = { repository: opening, point: finding, disk, read, live, memory: anonymousBytes(process.pid) };
process.stdout.write(`${JSON.stringify(opened)}\n`);
await image.close();
await repository.close();
