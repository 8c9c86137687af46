/**
 * The server's side of fixed newstyle negotiation ("Newstyle negotiation"): one option after the other, each answered
 * and sent before the next is read, so that a client can make us hold no more than one.
 */
import type { TlsOptions } from "node:tls";
import {
	BASE_ALLOCATION,
	DEFAULT_BLOCK_SIZES,
	Handshake,
	IHAVEOPT,
	Info,
	NBDMAGIC,
	Option,
	OptionError,
	OptionReply,
} from "../protocol.js";
import type { Channel } from "./channel.js";
import { type NbdExport, type NbdExports, type StatusSource, transmissionFlags } from "./export.js";
import { Intake, Unfollowable } from "./intake.js";
import { MAX_REQUEST } from "./limits.js";
import {
	blockInfo,
	contextReply,
	exportInfo,
	InvalidOption,
	listedContexts,
	optionHeader,
	optionReply,
	readContextRequest,
	readInfoRequest,
	readNothing,
	refusal,
	serverReply,
	textInfo,
} from "./options.js";
import { allocation } from "./status.js";

/** What a client chose, and the transmission phase begins with. */
export interface Chosen {
	exported: NbdExport;
	structured: boolean;
	/** contexts of block status, by the ids that the client was told */
	contexts: { id: number; source: StatusSource }[];
}

export interface HandshakeOptions<Peer> {
	exports: NbdExports<Peer>;
	peer: Peer;
	/** bytes of one option */
	optionBytes: number;
	/** offered with NBD_OPT_STARTTLS */
	tls?: TlsOptions;
	/** nothing but TLS is talked about before TLS */
	tlsRequired: boolean;
	/** takes one line */
	log: (line: string) => void;
}

/** Contexts that one connection may ask for at a time. */
const MAX_CONTEXTS = 16;

/** What is asked for does not exist, or not for this peer. */
class Unknown extends Error {}

type Selected = { export: string; names: string[] };

export class ServerHandshake<Peer> {
	#structured = false;
	#selected: Selected | undefined;
	readonly #intake: Intake;

	constructor(
		private readonly channel: Channel,
		private readonly options: HandshakeOptions<Peer>,
	) {
		this.#intake = new Intake(channel);
	}

	/** Nothing more will come. */
	left(): void {
		this.#intake.left();
	}

	/** The client's choice; undefined when it left in good order. Rejects when it cannot be followed. */
	async run(): Promise<Chosen | undefined> {
		const hello = Buffer.alloc(18);
		hello.writeBigUInt64BE(NBDMAGIC, 0);
		hello.writeBigUInt64BE(IHAVEOPT, 8);
		hello.writeUInt16BE(Handshake.FIXED_NEWSTYLE | Handshake.NO_ZEROES, 16);
		await this.channel.send(hello);
		const flags = (await this.#intake.take(4)).readUInt32BE(0);
		if ((flags & ~(Handshake.FIXED_NEWSTYLE | Handshake.NO_ZEROES)) !== 0)
			throw new Unfollowable(`unknown handshake flags 0x${flags.toString(16)}`);
		for (;;) {
			const header = optionHeader(await this.#intake.take(16));
			if (header === undefined) throw new Unfollowable("this is not an NBD client");
			const { option, length } = header;
			if (length > this.options.optionBytes) throw new Unfollowable(`option ${option} with ${length} bytes`);
			const data = await this.#intake.take(length);
			if (option === Option.ABORT) {
				await this.channel.send(optionReply(option, OptionReply.ACK)).catch(() => undefined);
				return undefined;
			}
			const chosen = await this.#answer(option, data, (flags & Handshake.NO_ZEROES) !== 0);
			if (chosen) return chosen;
		}
	}

	async #answer(option: number, data: Buffer, noZeroes: boolean): Promise<Chosen | undefined> {
		const { tlsRequired } = this.options;
		if (tlsRequired && !this.channel.secure && option !== Option.STARTTLS) {
			if (option === Option.EXPORT_NAME) throw new Unfollowable("an export without TLS");
			await this.channel.send(refusal(option, OptionError.TLS_REQUIRED, "this server wants TLS first"));
			return undefined;
		}
		try {
			switch (option) {
				case Option.EXPORT_NAME:
					return await this.#exportName(data, noZeroes);
				case Option.GO:
					return await this.#info(option, data);
				case Option.INFO:
					(await this.#info(option, data))?.exported.release?.();
					return undefined;
				case Option.STARTTLS:
					await this.#startTls(data);
					return undefined;
				default:
					await this.channel.send(await this.#simple(option, data));
					return undefined;
			}
		} catch (error) {
			if (error instanceof InvalidOption) await this.channel.send(refusal(option, OptionError.INVALID, error.message));
			else if (error instanceof Unknown) await this.channel.send(refusal(option, OptionError.UNKNOWN, error.message));
			else throw error;
			return undefined;
		}
	}

	/** Options that change nothing but what is remembered here. */
	async #simple(option: number, data: Buffer): Promise<Buffer> {
		const ack = optionReply(option, OptionReply.ACK);
		switch (option) {
			case Option.LIST: {
				readNothing(data);
				const names = this.options.exports.names(this.options.peer);
				return Buffer.concat([...names.map((name) => serverReply(option, name)), ack]);
			}
			case Option.STRUCTURED_REPLY:
				readNothing(data);
				this.#structured = true;
				return ack;
			case Option.LIST_META_CONTEXT:
			case Option.SET_META_CONTEXT:
				return Buffer.concat([...(await this.#contexts(option, data)), ack]);
			default:
				return refusal(option, OptionError.UNSUPPORTED, `option ${option} is not known here`);
		}
	}

	async #contexts(option: number, data: Buffer): Promise<Buffer[]> {
		if (!this.#structured) throw new InvalidOption("contexts want structured replies first");
		const setting = option === Option.SET_META_CONTEXT;
		if (setting) this.#selected = undefined;
		const { name, queries } = readContextRequest(data);
		const exported = await this.#open(name);
		const { contexts } = exported;
		exported.release?.();
		if (!setting) return listedContexts(contexts, queries).map((found) => contextReply(option, 0, found));
		const known = queries.filter((query) => query === BASE_ALLOCATION || contexts?.find(query));
		const names = [...new Set(known)].slice(0, MAX_CONTEXTS);
		this.#selected = { export: name, names };
		return names.map((found, index) => contextReply(option, index + 1, found));
	}

	/** NBD_OPT_INFO and NBD_OPT_GO */
	async #info(option: number, data: Buffer): Promise<Chosen | undefined> {
		const { name, wanted } = readInfoRequest(data);
		const exported = await this.#open(name);
		try {
			const { image, description, preferredBlock } = exported;
			const replies = [exportInfo(option, image.size, transmissionFlags(exported, this.#structured))];
			if (wanted.has(Info.NAME)) replies.push(textInfo(option, Info.NAME, name));
			if (wanted.has(Info.DESCRIPTION) && description) replies.push(textInfo(option, Info.DESCRIPTION, description));
			if (wanted.has(Info.BLOCK_SIZE))
				replies.push(blockInfo(option, 1, preferredBlock ?? DEFAULT_BLOCK_SIZES.preferred, MAX_REQUEST));
			await this.channel.send(Buffer.concat([...replies, optionReply(option, OptionReply.ACK)]));
			return this.#chosen(name, exported);
		} catch (error) {
			exported.release?.();
			throw error;
		}
	}

	/** NBD_OPT_EXPORT_NAME, which has no way to say no. */
	async #exportName(data: Buffer, noZeroes: boolean): Promise<Chosen> {
		const name = data.toString("utf8");
		const exported = await this.#open(name).catch((error: Error) => {
			throw new Unfollowable(error.message);
		});
		const reply = Buffer.alloc(noZeroes ? 10 : 134);
		reply.writeBigUInt64BE(BigInt(exported.image.size), 0);
		reply.writeUInt16BE(transmissionFlags(exported, this.#structured), 8);
		try {
			await this.channel.send(reply);
			return this.#chosen(name, exported);
		} catch (error) {
			exported.release?.();
			throw error;
		}
	}

	/** Contexts chosen for another export do not count. */
	#chosen(name: string, exported: NbdExport): Chosen {
		const names = this.#selected?.export === name ? this.#selected.names : [];
		const contexts: Chosen["contexts"] = [];
		for (const [index, context] of names.entries()) {
			const source = context === BASE_ALLOCATION ? allocation(exported.image) : exported.contexts?.find(context);
			if (source) contexts.push({ id: index + 1, source });
		}
		return { exported, structured: this.#structured, contexts };
	}

	async #open(name: string): Promise<NbdExport> {
		const { exports, peer } = this.options;
		let found: NbdExport | undefined;
		try {
			found = await exports.open(peer, name);
		} catch (error) {
			this.options.log(`cannot have export "${printable(name)}": ${(error as Error).message}`);
			throw new Unknown("the export cannot be opened now");
		}
		if (!found) throw new Unknown("no such export");
		return found;
	}

	/** What was agreed on before TLS is forgotten, and nothing may have been sent behind the request. */
	async #startTls(data: Buffer): Promise<void> {
		readNothing(data);
		const { tls } = this.options;
		if (!tls) {
			const words = "this server has no certificate";
			await this.channel.send(refusal(Option.STARTTLS, OptionError.POLICY, words));
			return;
		}
		if (this.channel.secure) throw new InvalidOption("TLS is on already");
		if (this.channel.receive.available > 0) throw new Unfollowable("bytes between STARTTLS and its answer");
		// Nothing is read meanwhile: what the client sends next is for TLS.
		await this.channel.send(optionReply(Option.STARTTLS, OptionReply.ACK));
		await this.channel.startTls(tls);
		this.#structured = false;
		this.#selected = undefined;
	}
}

/** What a stranger wrote, fit for a log. */
const printable = (text: string): string => text.replace(/[^\x20-\x7e]+/g, "?").slice(0, 100);
