/** What people type: passphrases, which may be typed on different keyboards, and recovery keys, with or without dashes. */

import { isUtf8 } from "node:buffer";
import { randomBytes } from "node:crypto";

export type KeyKind = "passphrase" | "recovery";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; // RFC 4648, section 6
const RECOVERY_DIGITS = 32;

/** A recovery key: 160 random bits as eight groups of four. */
export const newRecoveryKey = (): string =>
	Array.from(randomBytes(RECOVERY_DIGITS), (byte, n) => (n > 0 && n % 4 === 0 ? "-" : "") + ALPHABET[byte & 31]).join(
		"",
	);

/** The bytes that a key of this kind is derived from; undefined when the input cannot be one. */
export const secretFor = (kind: KeyKind, typed: Buffer): Buffer | undefined => {
	if (kind === "passphrase") return isUtf8(typed) ? Buffer.from(typed.toString().normalize("NFC")) : typed;
	const digits = typed.toString("latin1").replace(/[\s-]/g, "").toUpperCase();
	return digits.length === RECOVERY_DIGITS && [...digits].every((digit) => ALPHABET.includes(digit))
		? Buffer.from(digits)
		: undefined;
};
