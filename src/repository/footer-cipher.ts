/** Encryption of a pack's footer (docs/format.md, 11): one message per pack key under the nonce that no record has. */
import { createCipheriv, createDecipheriv } from "node:crypto";

export const FOOTER_TAG_BYTES = 16;
const CIPHER = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE = Buffer.alloc(12, 0xff);

/** Ciphertext and tag. `seal`: key, repository id, pack id; `bound`: the trailer's bytes that describe the footer. */
export const encryptFooter = (entries: Buffer, seal: Buffer, bound: Buffer): Buffer => {
	const cipher = createCipheriv(CIPHER, seal.subarray(0, KEY_BYTES), NONCE);
	cipher.setAAD(Buffer.concat([seal.subarray(KEY_BYTES), bound]));
	return Buffer.concat([cipher.update(entries), cipher.final(), cipher.getAuthTag()]);
};

/** The entries; undefined when they are not authentic. */
export const decryptFooter = (bytes: Buffer, seal: Buffer, bound: Buffer): Buffer | undefined => {
	const end = bytes.length - FOOTER_TAG_BYTES;
	const decipher = createDecipheriv(CIPHER, seal.subarray(0, KEY_BYTES), NONCE, { authTagLength: FOOTER_TAG_BYTES });
	decipher.setAAD(Buffer.concat([seal.subarray(KEY_BYTES), bound]));
	decipher.setAuthTag(bytes.subarray(end));
	try {
		return Buffer.concat([decipher.update(bytes.subarray(0, end)), decipher.final()]);
	} catch {
		return undefined;
	}
};
