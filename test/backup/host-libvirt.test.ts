/** The backup flow over the libvirt driver: full, increments, failures, killed runs, power cycles. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { type HostBackupOptions, hostBackup } from "../../src/backup/index.js";
import { initRepository, openRepository } from "../../src/repository/index.js";
import { contentOf, MIB } from "../hypervisor/content.js";
import { LibvirtLab } from "../hypervisor/libvirt-lab.js";

await enterNamespace(import.meta.url);
const ID = "66666666-2222-3333-4444-555555555555";
const built = (path: string) => fileURLToPath(new URL(`../../src/${path}`, import.meta.url));
const RUN = `
	const [backup, hypervisor, repository] = await Promise.all(process.argv.slice(1, 4).map((url) => import(url)));
	const host = { name: "lab", type: "libvirt", uri: process.argv[4] };
	const open = await hypervisor.openHost("libvirt", host.uri);
	const into = await repository.openRepository(process.argv[5]);
	await backup.hostBackup(into, {
		host, hypervisor: open, vm: "one", quiesce: false, readLimit: 2 ** 20,
		progress: () => console.log("reads"),
	});
`;

t.test("libvirt", { timeout: 300_000 }, async (t) => {
	const lab = await LibvirtLab.start();
	t.teardown(() => lab.close());
	lab.tiny("one", ID, [
		{ target: "vda", format: "qcow2", file: lab.image("a.qcow2", "qcow2", 16 * MIB) },
		{ target: "vdb", format: "raw", file: lab.image("b.raw", "raw", 8 * MIB) },
	]);
	const hypervisor = lab.host();
	await initRepository(lab.path("repo"));
	const repository = await openRepository(lab.path("repo"));
	t.teardown(() => repository.close());
	const said: string[] = [];
	const backup = (more: Partial<HostBackupOptions> = {}) =>
		hostBackup(repository, {
			host: { name: "lab", type: "libvirt", uri: lab.uri },
			hypervisor,
			vm: "one",
			quiesce: false,
			say: (line) => said.push(line),
			...more,
		});
	const shadow = [Buffer.alloc(16 * MIB), Buffer.alloc(8 * MIB)];
	const write = async (n: number, letter: string, grain: number, count = 1) => {
		await lab.shell(
			"one",
			`head -c ${count * 65536} /dev/zero | tr '\\000' ${letter} | dd of=/dev/vd${"ab"[n]} bs=64k seek=${grain} conv=notrunc,fsync 2>&1`,
		);
		shadow[n].fill(letter, grain * 65536, (grain + count) * 65536);
	};
	const expect = async (id: string) => {
		const point = (await repository.points()).find((one) => one.id === id)!;
		for (const [n, name] of ["vda", "vdb"].entries()) {
			const image = await repository.openDisk(point, name);
			t.ok((await contentOf(image)).equals(shadow[n]), `${name} in ${id.slice(0, 8)}`);
			await image.close();
		}
	};
	await hypervisor.power("one", "on");
	await write(0, "a", 0, 32);
	await write(1, "b", 0, 8);
	const first = await backup();
	t.match(first.disks, [{ name: "vda", read: 2 * MIB }, { name: "vdb" }]);
	await expect(first.point);
	await write(0, "c", 40, 2);
	const second = await backup();
	const compared = { tracked: false, why: /keeps no record of changes for disks that are not qcow2/ };
	t.match(second.disks, [{ tracked: true, read: 131072 }, compared]);
	await expect(second.point);
	for (let n = 0; n < 3; n++) await t.rejects(backup({ consistency: "filesystem" }), { code: "SOURCE" });
	await write(0, "d", 50);
	const third = await backup();
	t.match(third.disks, [{ tracked: true, read: 65536 }, {}]);
	await expect(third.point);

	await write(0, "e", 60, 128);
	const modules = ["backup/index.js", "hypervisor/index.js", "repository/index.js"].map(built);
	const child = spawn(process.execPath, ["--input-type=module", "-e", RUN, ...modules, lab.uri, lab.path("repo")], {
		env: { ...process.env, NODE_OPTIONS: "" },
		stdio: ["ignore", "pipe", "inherit"],
	});
	await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
	child.kill("SIGKILL");
	await once(child, "exit");
	await write(0, "f", 61);
	said.length = 0;
	const fourth = await backup();
	t.ok(said.some((line) => /left by a run that died/.test(line)));
	t.match(fourth.disks, [{ tracked: true }, {}]);
	await expect(fourth.point);
	await hypervisor.power("one", "off");
	await expect((await backup()).point);
	await hypervisor.power("one", "on");
	await write(0, "g", 3);
	const fifth = await backup();
	t.match(fifth.disks, [{ tracked: true, read: 65536 }, compared]);
	await expect(fifth.point);
	t.strictSame(await hypervisor.cleanUp(), []);
	t.match((await hypervisor.list())[0], { state: "running" });
});
