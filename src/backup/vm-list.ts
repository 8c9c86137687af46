/**
 * The file after `backup --vms`: which VMs, and where their disks are. YAML, and so JSON too. Relative paths in it begin at its
 * folder.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { checkTag, checkVmName, parseCompression } from "../repository/index.js";
import { reason, SourceError } from "./errors.js";
import { parseSources, splitDiskName } from "./source-spec.js";

/** One VM of the file; members as `BackupOptions` has them. */
export interface ListedVm {
	vm: string;
	disks: string[];
	config?: string;
	since?: string;
	changes: string[];
	compression?: string;
	tags: string[];
}

/** Loaded when it is wanted: other backups start sooner. */
const yaml = (): typeof import("yaml") => createRequire(import.meta.url)("yaml");

const MEMBERS = ["disks", "config", "since", "changes", "compression", "tags"];

/** Throws SourceError USAGE that names file, VM and member. */
export function readVmList(path: string): ListedVm[] {
	let text: string;
	try {
		text = readFileSync(path, "utf8");
	} catch (error) {
		throw new SourceError("USAGE", `${path}: ${reason(error)}`, { cause: error });
	}
	return parseVmList(text, path);
}

export function parseVmList(text: string, path: string): ListedVm[] {
	const document = yaml().parseDocument(text);
	const [error] = document.errors;
	if (error) throw new SourceError("USAGE", `${path}: ${error.message.split("\n")[0]}`);
	const content: unknown = document.toJS({ mapAsMap: true });
	const vms = content instanceof Map ? content.get("vms") : undefined;
	const other = content instanceof Map ? [...content.keys()].find((key) => key !== "vms") : undefined;
	if (other !== undefined) throw new SourceError("USAGE", `${path}: "${other}" means nothing here; it has "vms" alone`);
	if (!(vms instanceof Map) || vms.size === 0)
		throw new SourceError("USAGE", `${path}: no VMs; write "vms:", and below it NAME: { disks: [SRC, …] }`);
	return [...vms].map(([name, members]) => new Entry(path, dirname(path), name, members).read());
}

class Entry {
	constructor(
		private readonly path: string,
		private readonly folder: string,
		private readonly name: unknown,
		private readonly members: unknown,
	) {}

	read(): ListedVm {
		const { name, members } = this;
		if (typeof name !== "string") throw this.#wrong("its name is not text; put it into quotes");
		if (!(members instanceof Map)) throw this.#wrong(`it must have "disks"`);
		for (const key of members.keys())
			if (!MEMBERS.includes(key)) throw this.#wrong(`"${key}" means nothing here; use ${MEMBERS.join(", ")}`);
		const config = this.#text("config");
		const compression = this.#text("compression");
		if (compression !== undefined && parseCompression(compression) === undefined)
			throw this.#wrong(`compression "${compression}": use none, lz4, zstd or zstd:1 to zstd:19`);
		const tags = this.#texts("tags");
		const disks = this.#texts("disks");
		return this.#checked(() => {
			checkVmName(name);
			for (const tag of tags) checkTag(tag);
			return {
				...{ vm: name, compression, tags, since: this.#text("since") },
				disks: this.#sources(disks),
				config: config === undefined ? undefined : resolve(this.folder, config),
				changes: this.#texts("changes").map((text) => this.#changes(text)),
			};
		});
	}

	/** Whole again, so that they mean the same from any folder. */
	#sources(disks: string[]): string[] {
		return parseSources(disks).map((spec) =>
			spec.kind === "nbd"
				? `${spec.name}=${spec.uri}`
				: `${spec.name}=${spec.format}:${resolve(this.folder, spec.path)}`,
		);
	}

	#changes(text: string): string {
		const { disk, rest } = splitDiskName(text);
		const path = resolve(this.folder, rest);
		return disk === undefined ? path : `${disk}=${path}`;
	}

	#text(member: string): string | undefined {
		const value = (this.members as Map<string, unknown>).get(member);
		if (value === undefined || typeof value === "string") return value;
		throw this.#wrong(`"${member}" must be text`);
	}

	/** A list, or one alone. */
	#texts(member: string): string[] {
		const value = (this.members as Map<string, unknown>).get(member) ?? [];
		const list = Array.isArray(value) ? value : [value];
		if (list.every((one) => typeof one === "string")) return list;
		throw this.#wrong(`"${member}" must be a list of texts`);
	}

	#checked<T>(work: () => T): T {
		try {
			return work();
		} catch (error) {
			throw this.#wrong((error as Error).message);
		}
	}

	#wrong(why: string): SourceError {
		return new SourceError("USAGE", `${this.path}: VM ${JSON.stringify(this.name)}: ${why}`);
	}
}
