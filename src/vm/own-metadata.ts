/** What we keep in the metadata of a libvirt domain: which session made it, and what a run does to it. */
import { all, type Element, escapeXml, first } from "./xml.js";

export const SESSION_URI = "urn:springback:session";
export const RUN_URI = "urn:springback:run";
/** Local names say whose they are: parsers often drop prefixes. */
export const SESSION_ELEMENT = "springback-session";
export const RUN_ELEMENT = "springback-run";

export interface OwnMetadata {
	/** name of the session that made it; null when we did not */
	session: string | null;
	/** what its disks were called in the restore point, by target */
	disks: Map<string, string>;
	/** attributes of the run's note; undefined when there is none */
	run: Record<string, string> | undefined;
}

export function ownMetadata(domain: Element): OwnMetadata {
	const metadata = first(domain, "metadata");
	const run = all(metadata, RUN_ELEMENT)[0];
	const made = attributesOf(first(metadata, SESSION_ELEMENT));
	return {
		session: made.name ?? null,
		disks: new Map((made.disks ?? "").split(" ").flatMap(namedDisk)),
		run: run === undefined ? undefined : attributesOf(run),
	};
}

/** Says what its disks were called, and of no session. */
export const releasedElement = (names: Map<string, string>): string =>
	`<${SESSION_ELEMENT} disks="${escapeXml(diskNames(names))}"/>`;

/** "vda=disk0" for each disk */
export const diskNames = (names: Map<string, string>): string =>
	[...names].map(([target, name]) => `${target}=${encodeURIComponent(name)}`).join(" ");

function namedDisk(text: string): [string, string][] {
	const match = /^([^=]+)=(.+)$/.exec(text);
	try {
		return match === null ? [] : [[match[1], decodeURIComponent(match[2])]];
	} catch {
		return [];
	}
}

const attributesOf = (element: Element | undefined): Record<string, string> =>
	Object.fromEntries(
		Object.entries(element ?? {}).flatMap(([key, value]) =>
			key.startsWith("@") && typeof value === "string" ? [[key.slice(1), value]] : [],
		),
	);
