/** A certificate authority, a server's and a client's certificate, by the names that libnbd, QEMU and nbdkit look for. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { must } from "../../e2e/workspace.js";

/** Fills `directory` with ca-cert.pem, server-{cert,key}.pem and client-{cert,key}.pem, for localhost and 127.0.0.1. */
export async function certificates(directory: string): Promise<void> {
	const at = (name: string) => join(directory, name);
	const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
	const authority = ["-x509", "-days", "2", "-subj", "/CN=springback test authority"];
	await must("openssl", ["req", ...ec, ...authority, "-keyout", at("ca-key.pem"), "-out", at("ca-cert.pem")]);
	for (const who of ["server", "client"]) {
		const [key, asked, cert, extra] = [at(`${who}-key.pem`), at(`${who}.csr`), at(`${who}-cert.pem`), at(`${who}.ext`)];
		writeFileSync(extra, "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
		await must("openssl", ["req", ...ec, "-subj", `/CN=${who}`, "-keyout", key, "-out", asked]);
		const sign = ["-CA", at("ca-cert.pem"), "-CAkey", at("ca-key.pem"), "-CAcreateserial", "-days", "2"];
		await must("openssl", ["x509", "-req", "-in", asked, ...sign, "-extfile", extra, "-out", cert]);
	}
}
