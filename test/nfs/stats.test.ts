/** Who is counted where: volumes, what concerns none, promises, and that counting keeps nothing. */
import t from "tap";
import { NfsStats } from "../../src/nfs/stats.js";
import type { Node, Volume } from "../../src/vfs/vfs.js";
import { P } from "./nfs-client.js";
import { served } from "./served.js";

const handleOf = (node: Node) => node.handle;

t.test("requests are counted under the volume of their node", async (t) => {
	const { fileSystem, server, connect } = await served(t, { paths: ["/springback", "/springback/a", "/springback/b"] });
	const volumes = new Map<Node, Volume>();
	Object.assign(fileSystem, { volume: (node: Node) => volumes.get(node) });
	const files = ["a", "b"].map((name) => {
		const file = fileSystem.file(`/springback/${name}/disk`);
		file.put(0, Buffer.alloc(65536, name));
		volumes.set(file, { name });
		return file;
	});
	const client = await connect();
	// Alternating, so that neither handle nor volume is the one met last.
	for (let i = 0; i < 30; i++) await client.read(handleOf(files[i % 3 === 0 ? 0 : 1]), 0, 4096);
	await Promise.all(Array.from({ length: 40 }, (_, i) => client.read(handleOf(files[i & 1]), 0, 1000)));
	await client.getattr(handleOf(fileSystem.root));
	const number = (name: string) => server.stats.number(`NFS ${name}`);
	const [a, b] = files.map((file) => server.stats.volume(volumes.get(file)!).procedure(number("READ")));
	t.equal(a.calls, 10 + 20);
	t.equal(b.calls, 20 + 20);
	t.equal(a.latency.count, 30, "every call has a latency");
	t.equal(b.latency.count, 40);
	t.ok(a.bytesOut > 10 * 4096 + 20 * 1000 && a.bytesOut < 10 * 4096 + 20 * 1000 + 30 * 200);
	t.equal(server.stats.procedure("NFS READ").calls, 0);
	t.equal(server.stats.procedure("NFS GETATTR").calls, 1, "the root belongs to none");

	fileSystem.behaviour.asynchronous = true;
	await Promise.all(files.map((file) => client.read(handleOf(file), 0, 10)));
	t.equal(a.calls, 31, "also what is answered later");
	t.equal(b.calls, 41);
	fileSystem.behaviour.asynchronous = false;

	volumes.set(files[0], { name: "a" });
	await client.read(handleOf(files[0]), 0, 10);
	t.equal(a.calls, 31, "served again under the same name: counted anew");
	t.equal(server.stats.volume(volumes.get(files[0])!).procedure(number("READ")).calls, 1);
	t.equal((await client.reply(P.NULL, Buffer.alloc(0))).stat, 0);
	t.equal(server.stats.procedure("NFS NULL").calls, 1, "a request without a handle is not of the volume before it");
});

t.test("a million calls keep nothing", (t) => {
	const stats = new NfsStats();
	const number = stats.number("NFS READ");
	const volumes = [{ name: "a" }, { name: "b" }].map((volume) => stats.volume(volume));
	const run = () => {
		for (let i = 0; i < 1_000_000; i++) {
			stats.answered(volumes[i & 1].procedure(number), 120, 4096, false);
			if ((i & 31) === 31) stats.endBatch(0.1);
		}
	};
	run(); // compiles
	const before = process.memoryUsage();
	run();
	const after = process.memoryUsage();
	t.equal(volumes[0].procedure(number).calls, 1_000_000);
	t.equal(volumes[0].procedure(number).latency.count, 1_000_000);
	// The smallest object for each would be 16 MB; what the compiler needs meanwhile is far less.
	t.ok(after.heapUsed - before.heapUsed < 4_000_000, `${after.heapUsed - before.heapUsed} bytes of heap for 1e6`);
	t.end();
});
