/** libnfs, the client that QEMU has: its tools copy a file in and out, and the bytes are the same. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { content, missing, servedInNamespace } from "./namespace.js";
import { served } from "./served.js";

const installed = existsSync("/usr/bin/nfs-cp");

async function run(command: string, ...args: string[]): Promise<{ code: number; output: Buffer; errors: string }> {
	const child: ChildProcess = spawn(command, args);
	const output: Buffer[] = [];
	let errors = "";
	child.stdout!.on("data", (part: Buffer) => output.push(part));
	child.stderr!.on("data", (part: Buffer) => {
		errors += part;
	});
	const code = await new Promise<number>((resolve) => child.on("close", resolve));
	return { code, output: Buffer.concat(output), errors };
}

const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

t.test("nfs-ls, nfs-cp, nfs-cat", { skip: installed ? false : "libnfs-utils is not installed" }, async (t) => {
	for (const asynchronous of [false, true]) {
		await t.test(asynchronous ? "answers that come later" : "answers at once", async (t) => {
			const { fileSystem, server } = await served(t);
			fileSystem.behaviour.asynchronous = asynchronous;
			const url = (path: string) =>
				`nfs://127.0.0.1/springback/one${path}?nfsport=${server.nfsPort}&mountport=${server.mountPort}`;
			const bytes = content(5_000_003);
			const local = join(t.testdir(), "local");
			writeFileSync(local, bytes);
			t.match(await run("nfs-cp", local, url("/in")), { code: 0 });
			const file = fileSystem.directory("/springback/one").children.get("in")!.node;
			t.equal(file.size, bytes.length);
			t.equal(digest((file as unknown as { content(): Buffer }).content()), digest(bytes), "copied in");
			t.match(await run("nfs-cp", url("/in"), `${local}.out`), { code: 0 });
			t.equal(digest(readFileSync(`${local}.out`)), digest(bytes), "copied out");
			t.equal(digest((await run("nfs-cat", url("/in"))).output), digest(bytes), "and printed");
			const list = await run("nfs-ls", url(""));
			t.match(list.output.toString(), /5000003 in/);
			fileSystem.file("/springback/one/vm/inner");
			t.match((await run("nfs-ls", url("/vm"))).output.toString(), /inner/, "a subdirectory can be mounted");
			t.not((await run("nfs-ls", url("/nothing"))).code, 0);
		});
	}
});

t.test("qemu-img finds the ports by portmap and reads", { skip: missing("qemu-img") }, (t) => {
	const out = join(t.testdir(), "out");
	const url = "nfs://127.0.0.1/springback/one/disk-flat.vmdk";
	const { parts, errors } = servedInNamespace(`qemu-img convert -f raw -O raw ${url} ${out}`);
	t.match(parts[0], /^own/);
	t.equal(parts[1], "exit 0\n", errors);
	t.equal(digest(readFileSync(out)), digest(content(1_000_448)));
	t.end();
});
