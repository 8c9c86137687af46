/**
 * What the user wrote after `--disk`: `[NAME=]SRC`, SRC being an NBD URI, `FORMAT:PATH`, or a path whose extension
 * says the format. The content never says it: a guest can write a qcow2 header into its raw disk.
 */
import { isNbdUri } from "../nbd/uri.js";
import { SourceError } from "./errors.js";

export type FileFormat = "raw" | "qcow2" | "vmdk";

export type SourceSpec = { name: string } & (
	| { kind: "nbd"; uri: string }
	| { kind: "file"; format: FileFormat; path: string }
);

const FORMATS: readonly FileFormat[] = ["raw", "qcow2", "vmdk"];
const EXTENSIONS: Readonly<Record<string, FileFormat>> = {
	"": "raw",
	raw: "raw",
	img: "raw",
	bin: "raw",
	iso: "raw",
	qcow2: "qcow2",
	qcow: "qcow2",
	vmdk: "vmdk",
};

/** Throws SourceError USAGE. Disks without a name are disk0, disk1, … by their place in the list. */
export function parseSources(texts: readonly string[]): SourceSpec[] {
	if (texts.length === 0) throw new SourceError("USAGE", "no disk given: add --disk SRC");
	const specs = texts.map(parseSource);
	for (const [i, { name }] of specs.entries())
		if (specs.findIndex((other) => other.name === name) !== i)
			throw new SourceError("USAGE", `two disks are named "${name}": give each its own with --disk NAME=SRC`);
	return specs;
}

/** `[NAME=]REST`, as options that belong to a disk are written. */
export function splitDiskName(text: string): { disk: string | undefined; rest: string } {
	const named = /^([A-Za-z0-9._-]+)=(.+)$/s.exec(text);
	return { disk: named?.[1], rest: named?.[2] ?? text };
}

function parseSource(text: string, index: number): SourceSpec {
	const { disk, rest: source } = splitDiskName(text);
	const name = disk ?? `disk${index}`;
	if (source === "" || source.includes("\0")) throw new SourceError("USAGE", `--disk "${text}": no path or URI`);
	if (isNbdUri(source)) return { name, kind: "nbd", uri: source };
	const prefix = /^([a-z][a-z0-9+.-]*):(.+)$/s.exec(source);
	if (prefix) {
		const format = FORMATS.find((f) => f === prefix[1]);
		if (format) return { name, kind: "file", format, path: prefix[2] };
		throw new SourceError(
			"USAGE",
			`${source}: "${prefix[1]}:" is neither a format (raw, qcow2, vmdk) nor nbd:// (write ./${source} for a file of that name)`,
		);
	}
	const base = source.slice(source.lastIndexOf("/") + 1);
	const dot = base.lastIndexOf(".");
	const extension = dot > 0 ? base.slice(dot + 1).toLowerCase() : "";
	if (!Object.hasOwn(EXTENSIONS, extension))
		throw new SourceError(
			"USAGE",
			`${source}: the extension ".${extension}" does not say the format: write --disk raw:${source} (or qcow2:, vmdk:)`,
		);
	return { name, kind: "file", format: EXTENSIONS[extension], path: source };
}
