/** UUIDs in VMware's spelling, and identifiers derived from content. */
import { createHash } from "node:crypto";

/** VMware writes "56 4d 8a … 1f-aa bb …": sixteen bytes, a dash in the middle. Null when it is not one. */
export function uuidFrom(value: string | undefined): string | null {
	const hex = value?.replace(/[\s-]/g, "").toLowerCase() ?? "";
	if (!/^[0-9a-f]{32}$/.test(hex)) return null;
	return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Sixteen bytes as VMware writes them. */
export function vmwareUuid(bytes: Buffer): string {
	const hex = Array.from(bytes.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0"));
	return `${hex.slice(0, 8).join(" ")}-${hex.slice(8).join(" ")}`;
}

/** SHA-256, for identifiers that must be the same whenever the same point is published. */
export const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
