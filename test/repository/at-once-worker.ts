/** A process that backs up one disk when its standard input ends. Arguments: repository, VM. */
import { openRepository } from "../../src/repository/index.js";
import { Dice, MemoryImage, MIB, request } from "./helpers.js";

const [path, vm] = process.argv.slice(2);
const repository = await openRepository(path);
const image = new MemoryImage(new Dice(7).bytes(12 * MIB));
process.stdin.resume();
process.stdin.once("end", async () => {
	await repository.backup(request(vm, image));
	await repository.close();
});
process.stdout.write("ready\n");
