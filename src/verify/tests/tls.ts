/** The certificate that a port shows: how long it is valid, for which name, and whether its chain is trusted. */
import type { PeerCertificate, TLSSocket } from "node:tls";
import type { TestKind, TestOutcome } from "./contract.js";
import { serverName } from "./http.js";
import { flag, objectSchema, port, text, whole, withDefaults } from "./options.js";
import { oneLine } from "./text.js";
import { Wire } from "./wire.js";

const DAY_MS = 86_400_000;

const schema = objectSchema({
	port: port("TCP port that speaks TLS from the first byte on", 443),
	name: text("name asked for, and that the certificate has to be for; without it, any will do"),
	days: whole("days that it has to be valid for still", 0, 10_000, 0),
	chain: flag("the chain has to lead to a certificate authority that this machine, or ca, trusts"),
	ca: text("PEM certificates that are trusted instead of this machine's, for chain"),
});

interface Options {
	port: number;
	name?: string;
	days: number;
	chain: boolean;
	ca?: string;
}

export const tls: TestKind = {
	kind: "tls",
	summary: "the certificate of a port is valid: days left, name, and (optional) its chain",
	schema,
	defaults: { timeoutMs: 15_000, retries: 5, retryMs: 5000 },
	options(given) {
		const options = withDefaults(schema, given) as unknown as Options;
		if (options.ca !== undefined && !options.chain) throw new Error("ca is for chain: add chain: true");
		return options as unknown as Record<string, unknown>;
	},
	title: ({ port }) => `TLS certificate on port ${port}`,
	ports: ({ port }) => [{ protocol: "tcp", port: port as number }],
	async run(given, context) {
		const options = given as unknown as Options;
		const wire = await Wire.open(context, { protocol: "tcp", port: options.port });
		try {
			const name = serverName(options.name ?? context.guest);
			const socket = await wire.secure({
				servername: name,
				ca: options.ca,
				// What is wrong with it is found out below, so that the report can show it.
				rejectUnauthorized: false,
				checkServerIdentity: () => undefined,
			});
			return judge(options, socket);
		} finally {
			wire.close();
		}
	},
};

const judge = (options: Options, socket: TLSSocket): TestOutcome => {
	const certificate = socket.getPeerX509Certificate();
	if (certificate === undefined) return { ok: false, message: `port ${options.port} shows no certificate` };
	const [from, to] = [new Date(certificate.validFrom), new Date(certificate.validTo)];
	const daysLeft = Math.floor((to.getTime() - Date.now()) / DAY_MS);
	const output = [
		`subject: ${oneLine(certificate.subject ?? "")}`,
		`names: ${oneLine(certificate.subjectAltName ?? "")}`,
		`issuer: ${oneLine(certificate.issuer ?? "")}`,
		`valid: ${certificate.validFrom} to ${certificate.validTo}`,
		`SHA-256: ${certificate.fingerprint256}`,
		`protocol: ${socket.getProtocol()}, ${socket.getCipher().name}`,
		...chainOf(socket.getPeerCertificate(true)),
	].join("\n");
	const value = { name: "valid", unit: "days", amount: daysLeft };
	const failed = (message: string): TestOutcome => ({ ok: false, message, output, value });
	if (Number.isNaN(daysLeft)) return failed("the certificate's time of validity cannot be read");
	if (from.getTime() > Date.now()) return failed(`the certificate is valid only from ${from.toISOString()} on`);
	if (to.getTime() < Date.now()) return failed(`the certificate has expired on ${to.toISOString()}`);
	if (daysLeft < options.days)
		return failed(`the certificate expires in ${daysLeft} days, expected at least ${options.days}`);
	if (options.name !== undefined) {
		const fits =
			serverName(options.name) === "" ? certificate.checkIP(options.name) : certificate.checkHost(options.name);
		if (fits === undefined)
			return failed(
				`the certificate is not for ${options.name} but for ${oneLine(certificate.subjectAltName ?? certificate.subject ?? "")}`,
			);
	}
	if (options.chain && !socket.authorized) {
		// An Error at run time, whatever its type says (node:tls).
		const reason = socket.authorizationError as unknown as { message?: string } | string;
		return failed(
			`the certificate's chain is not trusted: ${oneLine(String((reason as { message?: string })?.message ?? reason))}`,
		);
	}
	return { ok: true, message: `the certificate is valid for ${daysLeft} days`, output, value };
};

/** Issuers, at most 10; the last is its own. */
const chainOf = (certificate: PeerCertificate & { issuerCertificate?: PeerCertificate }): string[] => {
	const lines: string[] = [];
	let one: (PeerCertificate & { issuerCertificate?: PeerCertificate }) | undefined = certificate.issuerCertificate;
	let before: PeerCertificate = certificate;
	while (one !== undefined && one !== before && lines.length < 10) {
		lines.push(
			`issued by: ${oneLine(
				Object.values(one.subject ?? {})
					.flat()
					.join(", "),
			)}`,
		);
		before = one;
		one = (one as { issuerCertificate?: PeerCertificate }).issuerCertificate as typeof one;
	}
	return lines;
};
