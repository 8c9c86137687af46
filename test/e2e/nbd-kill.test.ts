/** Published disks over NBD through kill -9 of their server. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { connectNbd } from "../../src/nbd/index.js";
import { bytesOf, random } from "./content.js";
import { FREE, MIB, prepared, SIZE, uris } from "./nbd.js";
import { must, run } from "./workspace.js";

await enterNamespace(import.meta.url);

t.setTimeout(240_000);

t.test("kill -9: what was answered is there, and QEMU goes on", async (t) => {
	const work = await prepared(t);
	const published = await work.publish(["vm", "--session", "s", ...FREE, "--nbd-port", "0"]);
	const { unix, tcp } = uris(published);
	const port = new URL(tcp).port;
	const shadow = readFileSync(work.path("source.raw"));
	const next = random(77);
	for (let round = 0; round < 3; round++) {
		const uri = round % 2 === 0 ? unix : tcp;
		const image = await connectNbd(uri);
		let killed = false;
		const writer = async (lane: number): Promise<void> => {
			const base = lane * 3 * MIB;
			for (let n = 0; !killed; n++) {
				const length = 1 + Math.floor(next() * 60_000);
				const at = base + Math.floor(next() * (3 * MIB - length));
				const data = bytesOf(round * 1e6 + lane * 1e4 + n, length);
				// What is in flight at the kill may be there or not: both ends of it are not looked at.
				try {
					await image.write(at, data);
					data.copy(shadow, at);
					if (n % 5 === 0) await image.flush();
				} catch {
					unsure.push([at, length]);
					return;
				}
			}
		};
		const unsure: [number, number][] = [];
		const writers = Promise.all([0, 1, 2, 3, 4, 5, 6].map(writer));
		await sleep(300 + 300 * next());
		const dying = work.killMountd("s");
		await sleep(20);
		killed = true;
		await writers;
		await image.close();
		await dying;
		const again = await connectNbd(uri);
		const found = Buffer.alloc(SIZE);
		await again.read(0, found);
		for (const [at, length] of unsure) shadow.copy(found, at, at, at + length);
		t.ok(
			found.equals(shadow),
			`round ${round}, ${uri === unix ? "Unix socket" : "TCP"}: all that was answered is there`,
		);
		// So that both agree again.
		for (const [at, length] of unsure) await again.write(at, shadow.subarray(at, at + length));
		await again.close();
	}

	const options = `driver=nbd,server.type=inet,server.host=127.0.0.1,server.port=${port},export=s/disk0,reconnect-delay=60`;
	const qemu = run("qemu-io", [
		...[
			"-c",
			"write -P 17 1M 2M",
			"-c",
			"sleep 3000",
			"-c",
			"read -P 17 1M 2M",
			"-c",
			"write -P 18 4M 64k",
			"-c",
			"flush",
		],
		...["-c", "read -P 18 4M 64k", "--image-opts", options],
	]);
	await sleep(1000);
	await work.killMountd("s");
	const { code, stdout, stderr } = await qemu;
	t.equal(code, 0, `QEMU connects again: ${stdout}${stderr}`);
	t.notMatch(stdout, /fail|error/i);

	const load = ["-w", "-c", "40000", "-d", "16", "-s", "4096", "--pattern=51", "--flush-interval=500"];
	const busy = run("qemu-img", ["bench", ...load, "--image-opts", options]);
	for (let n = 0; n < 2; n++) {
		await sleep(400);
		await work.killMountd("s");
	}
	const bench = await busy;
	t.equal(bench.code, 0, `with writes in flight, too: ${bench.stderr}`);
	const checked = await must("qemu-io", ["-c", `read -P 51 0 ${SIZE}`, "--image-opts", options]);
	t.notMatch(checked, /verification failed/, "all of them are there");
});
