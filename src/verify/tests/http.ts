/** A web server answers as expected. One request; redirects are answers, not followed. */
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { LabPort } from "../../lab/contract.js";
import { type TestContext, TestFailure, type TestKind, type TestOutcome } from "./contract.js";
import { flag, objectSchema, port, regex, text, whole, withDefaults } from "./options.js";
import { search } from "./pattern.js";
import { oneLine, quoted } from "./text.js";
import { inWords } from "./wire.js";

/** What is looked at of an answer. */
const BODY_BYTES = 1024 * 1024;
const HEADER_BYTES = 64 * 1024;

const schema = objectSchema({
	port: port("TCP port; default 80, with tls 443"),
	tls: flag("https"),
	path: text("path and query", "/"),
	method: { type: "string", enum: ["GET", "HEAD"], description: "method", default: "GET" },
	host: text("name asked for (Host header, and TLS server name); default: the guest's name in the lab"),
	status: whole("expected status; without it, any from 200 to 399", 100, 599),
	header: {
		type: "object",
		additionalProperties: { type: "string", maxLength: 4096 },
		description: "regular expressions for headers of the answer, by name",
	},
	body: regex("regular expression for the first MiB of the body"),
	text: text("text that the first MiB of the body has"),
	ca: text("PEM certificates that are trusted besides, for https"),
	insecure: flag("accept any certificate"),
	user: text("user name for basic authentication"),
	password: text("password for basic authentication"),
});

interface Options {
	port: number;
	tls: boolean;
	path: string;
	method: string;
	host?: string;
	status?: number;
	header?: Record<string, string>;
	body?: string;
	text?: string;
	ca?: string;
	insecure: boolean;
	user?: string;
	password?: string;
}

const place = (options: Options): LabPort => ({ protocol: "tcp", port: options.port });

export const http: TestKind = {
	kind: "http",
	summary: "a web server answers with the expected status, headers and text",
	schema,
	defaults: { timeoutMs: 30_000, retries: 5, retryMs: 5000 },
	options(given) {
		const options = withDefaults(schema, given) as unknown as Options;
		if (!options.path.startsWith("/") || /\s/.test(options.path))
			throw new Error(`path "${options.path}" must begin with "/" and have no spaces`);
		if (!options.tls && (options.ca !== undefined || options.insecure))
			throw new Error("ca and insecure are for https: add tls: true");
		if (options.ca !== undefined && options.insecure) throw new Error("ca and insecure exclude each other");
		if (options.method === "HEAD" && (options.body !== undefined || options.text !== undefined))
			throw new Error("an answer to HEAD has no body: leave out body and text, or use GET");
		for (const expression of Object.values(options.header ?? {})) search(expression, "");
		return { ...options, port: options.port ?? (options.tls ? 443 : 80) };
	},
	title: (options) => {
		const { tls, port, path } = options as unknown as Options;
		return `${tls ? "https" : "http"}://…:${port}${path}`;
	},
	ports: (options) => [place(options as unknown as Options)],
	run: (options, context) => run(options as unknown as Options, context),
};

const run = async (options: Options, context: TestContext): Promise<TestOutcome> => {
	const began = performance.now();
	const { response, body, cutOff } = await ask(options, context);
	const amount = Math.round(performance.now() - began);
	const head = `HTTP/${response.httpVersion} ${response.statusCode} ${response.statusMessage ?? ""}`;
	const headers = Object.entries(response.headersDistinct).flatMap(([name, values]) =>
		(values ?? []).map((value) => `${name}: ${value}`),
	);
	const output = [head, ...headers, "", body.toString("utf8")].join("\n");
	const wrong = complaint(options, response, body.toString("utf8"), cutOff);
	if (wrong !== undefined) return { ok: false, message: wrong, output };
	const size = options.method === "HEAD" ? "" : `, ${cutOff ? "more than " : ""}${body.length} bytes`;
	return {
		ok: true,
		message: `answered ${response.statusCode}${size}`,
		output,
		value: { name: "answer", unit: "ms", amount },
	};
};

const complaint = (
	options: Options,
	{ statusCode = 0, headers }: IncomingMessage,
	body: string,
	cutOff: boolean,
): string | undefined => {
	const to = headers.location === undefined ? "" : ` (to ${quoted(headers.location)})`;
	if (options.status === undefined ? statusCode < 200 || statusCode > 399 : statusCode !== options.status)
		return `answered ${statusCode}${to}, expected ${options.status ?? "200 to 399"}`;
	for (const [name, expression] of Object.entries(options.header ?? {})) {
		const value = headers[name.toLowerCase()];
		if (value === undefined) return `answered ${statusCode} without a header ${name}`;
		const line = Array.isArray(value) ? value.join(", ") : value;
		if (!search(expression, line)) return `header ${name} is ${quoted(line)}, expected /${expression}/`;
	}
	const where = cutOff ? "the first MiB of the answer" : "the answer";
	if (options.text !== undefined && !body.includes(options.text))
		return `answered ${statusCode}, but ${where} has no ${quoted(options.text)}`;
	if (options.body !== undefined && !search(options.body, body))
		return `answered ${statusCode}, but ${where} does not match /${options.body}/`;
	return undefined;
};

const ask = async (
	options: Options,
	context: TestContext,
): Promise<{ response: IncomingMessage; body: Buffer; cutOff: boolean }> => {
	const endpoint = await context.endpoint(place(options));
	const name = options.host ?? context.guest;
	const where = `port ${options.port}`;
	let stage = "does not accept the connection";
	const headers: Record<string, string> = {
		host: name,
		"user-agent": "springback",
		accept: "*/*",
		"accept-encoding": "identity",
		connection: "close",
	};
	if (options.user !== undefined)
		headers.authorization = `Basic ${Buffer.from(`${options.user}:${options.password ?? ""}`).toString("base64")}`;
	const request = (options.tls ? requestHttps : requestHttp)({
		...endpoint,
		method: options.method,
		path: options.path,
		headers,
		agent: false,
		maxHeaderSize: HEADER_BYTES,
		...(options.tls
			? { servername: serverName(name), ca: trusted(options), rejectUnauthorized: !options.insecure }
			: {}),
	});
	const interrupt = () => request.destroy(new TestFailure(`${where} ${stage}`));
	context.signal.addEventListener("abort", interrupt, { once: true });
	if (context.signal.aborted) interrupt();
	try {
		return await new Promise((resolve, reject) => {
			const fail = (error: NodeJS.ErrnoException) =>
				reject(error instanceof TestFailure ? error : new TestFailure(`${where} ${problem(error)}`));
			request.on("error", fail);
			request.once("socket", (socket) =>
				socket.once("connect", () => {
					stage = options.tls ? "does not finish the TLS handshake" : "accepts the connection and does not answer";
					socket.once("secureConnect", () => {
						stage = "accepts the connection and does not answer";
					});
				}),
			);
			request.once("response", (response) => {
				stage = "does not come to the end of its answer";
				const pieces: Buffer[] = [];
				let size = 0;
				const done = (cutOff: boolean) =>
					resolve({ response, body: Buffer.concat(pieces).subarray(0, BODY_BYTES), cutOff });
				response.on("data", (piece: Buffer) => {
					pieces.push(piece);
					size += piece.length;
					if (size <= BODY_BYTES) return;
					done(true);
					response.destroy();
				});
				response.once("end", () => done(false));
				// Destroying a request with an error ends its response with that error.
				response.once("error", (error: NodeJS.ErrnoException) =>
					fail(
						error.code === "ECONNRESET" && !context.signal.aborted
							? new TestFailure(`${where} breaks off its answer`)
							: error,
					),
				);
			});
			request.end();
		});
	} finally {
		context.signal.removeEventListener("abort", interrupt);
		request.destroy();
	}
};

/** An address is no TLS server name (RFC 6066 section 3). */
export const serverName = (name: string): string => (/^[0-9.]+$|:/.test(name) ? "" : name);

const trusted = ({ ca }: Options): string[] | undefined => (ca === undefined ? undefined : [ca]);

/** Codes of node:tls and OpenSSL for a certificate that is not accepted. */
const problem = (error: NodeJS.ErrnoException): string => {
	const code = error.code ?? "";
	if (code.startsWith("HPE_HEADER_OVERFLOW")) return `answers with more than ${HEADER_BYTES} bytes of headers`;
	if (code.startsWith("HPE_")) return "does not speak HTTP";
	if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return `shows a certificate for another name: ${oneLine(error.message)}`;
	if (/^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code))
		return `shows a certificate that is not trusted: ${oneLine(error.message)}`;
	if (code === "EPROTO" || code.startsWith("ERR_SSL")) return "does not speak TLS";
	if (error.message === "socket hang up") return "closes the connection without an answer";
	return inWords(error);
};
