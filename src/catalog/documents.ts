/**
 * Hosts and plans as YAML files that people edit, too: `hosts.yaml`, `plans/NAME.yaml`. Written atomically; comments and
 * order stay. They never hold a secret, only where one is.
 */
import { mkdirSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { parseDocument } from "yaml";
import { readFileWhole, replaceFileDurably } from "../../native/durable-file.js";
import { CatalogError, codeOf } from "./errors.js";
import { withLock } from "./file-lock.js";
import type { CatalogPaths } from "./paths.js";

export interface Host {
	name: string;
	/** driver: "qemu", … */
	type: string;
	uri: string;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const MEMBERS = new Set(["type", "uri", "user", "password"]);
/** Where a secret is: a file, a variable of the environment, a credential that systemd hands over. */
const SECRET_PLACES = ["file", "env", "credential"];
const HEAD = " Hypervisors. `springback hosts` writes this file and keeps comments. It never holds a password.";

export const checkName = (kind: string, name: string): string => {
	if (NAME.test(name)) return name;
	throw new CatalogError("INVALID", `${kind} "${name}": a name has 1 to 64 letters, digits, ".", "_" and "-"`);
};

/** Loaded when a document is parsed: commands that parse none start sooner. */
const yaml = (): typeof import("yaml") => createRequire(import.meta.url)("yaml");

/** All hosts by name. Throws DAMAGED that names file and line. */
export const readHosts = ({ hosts: path }: CatalogPaths): Map<string, Host> => hostsOf(readText(path) ?? "", path);

/** The hosts in a text. */
export const hostsOf = (text: string, path: string): Map<string, Host> => {
	if (text === "") return new Map();
	const { hosts = {} } = (parse(text, path).toJS() ?? {}) as { hosts?: unknown };
	if (!isRecord(hosts)) throw damaged(path, '"hosts" must be a mapping of names');
	return new Map(Object.entries(hosts).map(([name, host]) => [name, hostOf(name, host, path)]));
};

const hostOf = (name: string, host: unknown, path: string): Host => {
	checkName(`${path}: host`, name);
	if (!isRecord(host)) throw damaged(path, `host ${name} must have "type" and "uri"`);
	const { type, uri, password } = host;
	if (typeof type !== "string" || typeof uri !== "string")
		throw damaged(path, `host ${name} must have "type" and "uri", both text`);
	const unknown = Object.keys(host).find((member) => !MEMBERS.has(member));
	if (unknown !== undefined) throw damaged(path, `host ${name} has "${unknown}", which means nothing here`);
	if (password !== undefined) {
		const [place, ...more] = isRecord(password) ? Object.keys(password) : [];
		if (!SECRET_PLACES.includes(place) || more.length > 0)
			throw damaged(
				path,
				`password of host ${name}: never the password itself, but "file: PATH", "env: NAME" or "credential: NAME"`,
			);
	}
	refuseSecret(name, uri);
	return { name, type, uri };
};

/** "user:password@" in a URI would be shown in lists and stored in repositories. */
const refuseSecret = (name: string, uri: string): void => {
	if (/^[a-z+.-]+:\/\/[^/@]*:[^/@]*@/i.test(uri))
		throw new CatalogError("INVALID", `host ${name}: its URI holds a password: take it out`);
};

/** Adds a host, or replaces one with `overwrite`; durable when it resolves. */
export const putHost = (paths: CatalogPaths, host: Host, overwrite: boolean): Promise<void> =>
	changeHosts(paths, (document, hosts) => {
		checkName("host", host.name);
		refuseSecret(host.name, host.uri);
		if (hosts.has(host.name) && !overwrite)
			throw new CatalogError("EXISTS", `host ${host.name} is known already: remove it first, or give --overwrite`);
		document.setIn(["hosts", host.name, "type"], host.type);
		document.setIn(["hosts", host.name, "uri"], host.uri);
	});

export const removeHost = (paths: CatalogPaths, name: string): Promise<void> =>
	changeHosts(paths, (document, hosts) => {
		if (!hosts.has(name)) throw unknownHost(name, hosts);
		document.deleteIn(["hosts", name]);
	});

export const findHost = (paths: CatalogPaths, name: string): Host => {
	const hosts = readHosts(paths);
	const host = hosts.get(name);
	if (host === undefined) throw unknownHost(name, hosts);
	return host;
};

const unknownHost = (name: string, hosts: Map<string, Host>): CatalogError =>
	new CatalogError(
		"NOT_FOUND",
		`no host ${name}: ${hosts.size === 0 ? "add it with springback hosts add" : `there is ${[...hosts.keys()].join(", ")}`}`,
	);

const changeHosts = async (
	paths: CatalogPaths,
	change: (document: ReturnType<typeof parseDocument>, hosts: Map<string, Host>) => void,
): Promise<void> => {
	mkdirSync(paths.config, { recursive: true, mode: 0o755 });
	await withLock(paths.configLock, () => {
		const text = readText(paths.hosts) ?? "";
		const document = parse(text, paths.hosts);
		const hosts = hostsOf(text, paths.hosts);
		if (!yaml().isMap(document.contents)) {
			document.contents = document.createNode({ hosts: {} }) as unknown as typeof document.contents;
			document.commentBefore ??= HEAD;
		}
		change(document, hosts);
		writeText(paths.hosts, document.toString());
	});
};

/** Texts of all plans by name. */
export const readPlans = ({ plans }: CatalogPaths): Map<string, string> => {
	const found = new Map<string, string>();
	for (const file of listFiles(plans)) {
		const text = readText(join(plans, file));
		const name = file.slice(0, -".yaml".length);
		if (file.endsWith(".yaml") && NAME.test(name) && text !== undefined) found.set(name, text);
	}
	return found;
};

/** As it is, also when it is broken just now: it is somebody's work. */
export const writePlan = (paths: CatalogPaths, name: string, text: string): void =>
	writeText(join(paths.plans, `${checkName("plan", name)}.yaml`), text);

/** The raw text of `hosts.yaml`, comments and all; undefined when there is none. */
export const readHostsText = ({ hosts }: CatalogPaths): string | undefined => readText(hosts);

export const writeHostsText = ({ hosts }: CatalogPaths, text: string): void => writeText(hosts, text);

const parse = (text: string, path: string) => {
	const { isMap, parseDocument } = yaml();
	const document = parseDocument(text, { prettyErrors: true });
	const [error] = document.errors;
	if (error !== undefined) throw damaged(path, error.message.split("\n")[0].replace(/:$/, ""));
	if (document.contents !== null && !isMap(document.contents)) throw damaged(path, "must be a mapping");
	return document;
};

const damaged = (path: string, why: string): CatalogError =>
	new CatalogError("DAMAGED", `${path}: ${why}: correct the file`);

const isRecord = (value: unknown): value is Record<string, unknown> =>
	typeof value === "object" && value !== null && !Array.isArray(value);

const readText = (path: string): string | undefined => {
	try {
		return readFileWhole(path).toString("utf8");
	} catch (error) {
		if (codeOf(error) === "ENOENT") return undefined;
		throw error;
	}
};

const writeText = (path: string, text: string): void => {
	mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
	replaceFileDurably(path, Buffer.from(text), 0o644);
};

const listFiles = (folder: string): string[] => {
	try {
		return readdirSync(folder).sort();
	} catch (error) {
		if (codeOf(error) === "ENOENT") return [];
		throw error;
	}
};
