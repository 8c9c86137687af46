/** The file systems of the point's disks are whole: each is checked by its own program in a sandbox. Needs no guest. */
import { join } from "node:path";
import { type Image, ImageError, SliceImage } from "../../image/index.js";
import { type TestContext, TestFailure, type TestKind, type TestOutcome } from "./contract.js";
import { CHECKERS, type Checker } from "./filesystem/checkers.js";
import { contentOf, type FileSystem, LVM } from "./filesystem/detect.js";
import { logicalVolumes, type PhysicalVolume } from "./filesystem/lvm.js";
import { readPartitions } from "./filesystem/partitions.js";
import { inSandbox, SandboxError, VOLUME } from "./filesystem/sandbox.js";
import { Scratch } from "./filesystem/scratch.js";
import { objectSchema, texts, withDefaults } from "./options.js";
import { findProgram } from "./program.js";
import { oneLine, plain } from "./text.js";

/** What a checker may write: a journal is at most 1 GiB, repairs are small. */
const SCRATCH_BYTES = 4 * 1024 ** 3;
/** Partitions that hold code of a boot loader, or nothing: their GUIDs, and types of an MBR. */
const NO_FILE_SYSTEM = new Set([
	"21686148-6449-6e6f-744e-656564454649",
	"e3c9e316-0b5c-4db8-817d-f92df00215ae",
	"9e1a2d38-c612-4316-aa26-8b49521e5a8b",
	"41",
]);

const schema = objectSchema({
	disks: texts("only these disks of the restore point; default: all"),
	ignore: texts('volumes that are left out, as "disk0/p2", or a whole disk', []),
});

interface Volume {
	name: string;
	image: Image;
	/** it should have a file system */
	expected: boolean;
}

interface Finding {
	volume: string;
	result: "clean" | "corrupt" | "skipped" | "unchecked" | "unreadable";
	/** one line */
	what: string;
	output: string;
	bytesRead: number;
}

export const filesystem: TestKind = {
	kind: "filesystem",
	summary: "the file systems of the disks (ext2/3/4, XFS, Btrfs, FAT, NTFS) are checked in a sandbox (offline)",
	schema,
	defaults: { timeoutMs: 3600_000, retries: 0, retryMs: 0 },
	options: (given) => withDefaults(schema, given),
	title: () => "file systems",
	ports: () => [],
	offline: true,
	fault: "file-system",
	async run(options, context) {
		const findings: Finding[] = [];
		const ignored = new Set(options.ignore as string[]);
		const wanted = options.disks as string[] | undefined;
		for (const name of wanted ?? [])
			if (!context.disks.some((disk) => disk.name === name))
				throw new Error(`the restore point has no disk ${name}: ${context.disks.map((disk) => disk.name).join(", ")}`);
		const chosen = context.disks.filter(({ name }) => !ignored.has(name) && (wanted?.includes(name) ?? true));
		const images: Image[] = [];
		const physical: PhysicalVolume[] = [];
		const checkOne = async (volume: Volume) => {
			if (ignored.has(volume.name)) return;
			const finding = await check(volume, context);
			if (finding === "physical volume") physical.push(volume);
			else findings.push(finding);
		};
		try {
			for (const disk of chosen) {
				const image = await disk.open();
				images.push(image);
				for (const volume of await volumesOf(disk.name, image, context)) await checkOne(volume);
			}
			const { volumes, problems } = await guarded("LVM", context, () => logicalVolumes(physical));
			for (const { name, what } of problems) findings.push(findingOf(name, "corrupt", what));
			for (const { name, image } of volumes)
				if (typeof image !== "string") await checkOne({ name, image, expected: true });
				else if (!ignored.has(name)) findings.push(findingOf(name, "skipped", image));
		} finally {
			for (const image of images) await image.close();
		}
		return conclude(findings);
	},
};

const volumesOf = async (disk: string, image: Image, context: TestContext): Promise<Volume[]> => {
	const partitions = await guarded(disk, context, () => readPartitions(image));
	if (partitions === undefined) return [{ name: disk, image, expected: true }];
	return partitions.map(({ number, offset, size, type }) => ({
		name: `${disk}/p${number}`,
		image: new SliceImage(image, offset, size),
		expected: !NO_FILE_SYSTEM.has(type),
	}));
};

/** What is found out before a checker runs: the name goes into messages, and a read that fails is damaged data. */
const guarded = async <T>(name: string, context: TestContext, look: () => Promise<T>): Promise<T> => {
	try {
		return await look();
	} catch (error) {
		if (context.signal.aborted) throw interrupted(name);
		if (error instanceof TestFailure) throw new TestFailure(`${name}: ${error.message}`, error.seen);
		if (!(error instanceof ImageError)) throw error;
		throw new TestFailure(`${name}: ${error.message}`, { fault: "damaged-data" });
	}
};

const interrupted = (name: string): TestFailure =>
	new TestFailure(`the check of ${name} did not come to its end`, { fault: "infrastructure" });

const findingOf = (volume: string, result: Finding["result"], what: string, output = "", bytesRead = 0): Finding => ({
	volume,
	result,
	what,
	output,
	bytesRead,
});

const check = async ({ name, image, expected }: Volume, context: TestContext): Promise<Finding | "physical volume"> => {
	try {
		const content = await contentOf(image);
		if (content.kind === "file-system") return await checkWith(name, image, content.type, context);
		if (content.kind === "other")
			return content.what === LVM ? "physical volume" : findingOf(name, "skipped", content.what);
		if (content.kind === "empty" || !expected) return findingOf(name, "skipped", "no file system");
		return findingOf(name, "corrupt", "holds data, but no file system that can be recognised");
	} catch (error) {
		if (context.signal.aborted) throw interrupted(name);
		if (!(error instanceof ImageError)) throw error;
		return findingOf(name, "unreadable", oneLine(error.message));
	}
};

const checkWith = async (name: string, image: Image, type: FileSystem, context: TestContext): Promise<Finding> => {
	const finding = (result: Finding["result"], what: string, output?: string, bytesRead?: number) =>
		findingOf(name, result, what, output, bytesRead);
	const checker: Checker = CHECKERS[type];
	if (findProgram([checker.program]) === undefined)
		return finding("unchecked", `${checker.program} is not installed (package ${checker.package})`);
	const scratch = new Scratch(image, join(context.directory, "scratch"), SCRATCH_BYTES);
	try {
		const result = await inSandbox(
			scratch,
			[checker.program, ...checker.args, VOLUME],
			context.directory,
			context.signal,
		);
		const output = plain(result.output).replaceAll(VOLUME, name);
		if (result.interrupted) throw new Error("interrupted");
		if (scratch.failure !== undefined) return finding("unreadable", oneLine(scratch.failure.message), output);
		const verdict = checker.judge({ ...result, output });
		const remark = verdict.lines.length > 0 ? `: ${oneLine(verdict.lines[0])}` : "";
		const more = verdict.clean || verdict.lines.length < 2 ? "" : ` (and ${verdict.lines.length - 1} more lines)`;
		if (verdict.clean) return finding("clean", `${checker.name}, clean${remark}`, output, scratch.bytesRead);
		return finding("corrupt", `${checker.name} is corrupt${remark}${more}`, output, scratch.bytesRead);
	} catch (error) {
		if (error instanceof SandboxError) return finding("unchecked", error.message);
		throw error;
	} finally {
		await scratch.close();
	}
};

const conclude = (findings: Finding[]): TestOutcome => {
	const output = findings
		.map(({ volume, what, output }) => `${volume}: ${what}\n${output === "" ? "" : `${output.trimEnd()}\n`}`)
		.join("\n");
	const first = (result: Finding["result"]) => findings.find((one) => one.result === result);
	const value = { name: "read", unit: "bytes", amount: findings.reduce((sum, { bytesRead }) => sum + bytesRead, 0) };
	const bad = first("unreadable") ?? first("corrupt") ?? first("unchecked");
	if (bad !== undefined) {
		const fault = { unreadable: "damaged-data", corrupt: "file-system", unchecked: "infrastructure" } as const;
		return {
			ok: false,
			message: `${bad.volume}: ${bad.what}`,
			output,
			value,
			fault: fault[bad.result as keyof typeof fault],
		};
	}
	const clean = findings.filter(({ result }) => result === "clean");
	const skipped = findings.filter(
		({ result, what }) => result === "skipped" && !["swap", "no file system"].includes(what),
	);
	const left =
		skipped.length === 0 ? "" : `; not checked: ${skipped.map(({ volume, what }) => `${volume} (${what})`).join(", ")}`;
	if (clean.length === 0)
		return {
			ok: false,
			message: `there is no file system that could be checked${left}`,
			output,
			fault: "infrastructure",
		};
	return {
		ok: true,
		message: `${clean.map(({ volume, what }) => `${volume} ${what}`).join("; ")}${left}`,
		output,
		value,
	};
};
