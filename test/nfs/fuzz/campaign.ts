/**
 * Some thousand requests of one seed to one server, over many connections. Every answer is looked at: it must be an RPC
 * reply to something that was asked, and what was well-formed must be answered.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { P } from "../nfs-client.js";
import { decodeReply, mark, RawClient } from "../raw-client.js";
import { generator, type Input, nextInput, type Random } from "./grammar.js";

/** of one campaign: what a seed that is replayed repeats */
export const CAMPAIGN_INPUTS = 10_000;
const PER_CONNECTION = 25;
/** Handles that were learned from replies and are used again. */
const LEARNED = 60;
/** A mark that promises more than comes keeps a connection waiting for the rest; ms */
const PATIENCE = 200;
const HANDLE_FOLLOWS: readonly number[] = [P.CREATE, P.MKDIR, P.SYMLINK, P.MKNOD];

export interface Target {
	nfsPort: number;
	portmapPort?: number;
	/** good ones to begin with */
	handles: readonly Buffer[];
	/** called before each connection */
	beforeRound?(round: number): void;
}

export interface Outcome {
	sent: number;
	answered: number;
	/** what should not be, one line each */
	faults: string[];
}

export async function campaign(seed: number, inputs: number, target: Target): Promise<Outcome> {
	const random = generator(seed);
	const outcome: Outcome = { sent: 0, answered: 0, faults: [] };
	const handles = [...target.handles];
	for (let round = 0; outcome.sent < inputs; round++) {
		target.beforeRound?.(round);
		const portmap = target.portmapPort !== undefined && random(10) === 0;
		await connection(random, portmap, target, handles, outcome);
	}
	return outcome;
}

async function connection(
	random: Random,
	portmap: boolean,
	target: Target,
	handles: Buffer[],
	outcome: Outcome,
): Promise<void> {
	const raw = await RawClient.connect(portmap ? target.portmapPort! : target.nfsPort);
	const asked: Input[] = [];
	let framed = true;
	for (let index = 0; index < PER_CONNECTION && !raw.socket.destroyed; index++) {
		const input = nextInput(random, portmap, handles);
		const { record } = input;
		const bytes = mark(record, random(8) === 0 && record.length > 8 ? [random(record.length)] : []);
		if (random(400) === 0) {
			bytes[random(4)] ^= 1 << random(8);
			framed = false;
		}
		raw.send(bytes);
		asked.push(input);
		outcome.sent++;
		if (random(20) === 0) await new Promise(setImmediate);
	}
	raw.socket.end();
	const timer = setTimeout(
		() => {
			if (framed) outcome.faults.push("a connection was not ended after its last request");
			raw.close();
		},
		framed ? 20_000 : PATIENCE,
	);
	await raw.closed;
	clearTimeout(timer);
	outcome.answered += raw.records.length;
	judge(raw.records, asked, framed, outcome.faults);
	learn(random, raw.records, asked, handles, target.handles.length);
}

function judge(records: readonly Buffer[], asked: readonly Input[], framed: boolean, faults: string[]): void {
	const xids = new Set(asked.map(({ record, xid }) => (record.length >= 4 ? record.readUInt32BE(0) : xid)));
	for (const record of records) {
		const fault = faultOf(record);
		if (fault) faults.push(`${fault}: ${record.subarray(0, 64).toString("hex")}`);
		else if (framed && !xids.has(record.readUInt32BE(0))) faults.push("an answer to what nobody asked");
	}
	if (!framed) return;
	if (records.length > asked.length) faults.push(`${records.length} answers to ${asked.length} requests`);
	const sound = asked.every(({ wellFormed }) => wellFormed);
	if (sound && records.length < asked.length) faults.push(`${asked.length} requests, ${records.length} answers`);
}

/** RFC 5531 section 9 */
function faultOf(record: Buffer): string | undefined {
	if (record.length % 4 !== 0) return "a reply of odd length";
	try {
		const { replyStat, stat, body } = decodeReply(record);
		if (replyStat > 1) return "reply_stat";
		if (replyStat === 1 ? stat > 1 : stat > 5) return "accept_stat or reject_stat";
		if (replyStat === 0 && stat !== 0 && body.left !== (stat === 2 ? 8 : 0))
			return "a refusal with something behind it";
		return undefined;
	} catch (error) {
		return (error as Error).message;
	}
}

/** Takes handles of what was made or found into the pool. */
function learn(
	random: Random,
	records: readonly Buffer[],
	asked: readonly Input[],
	handles: Buffer[],
	keep: number,
): void {
	for (const record of records) {
		const xid = record.readUInt32BE(0);
		const calls = asked.filter((input) => input.xid === xid);
		const procedure = calls.length === 1 ? calls[0].procedure : undefined;
		if (procedure !== P.LOOKUP && !HANDLE_FOLLOWS.includes(procedure ?? -1)) continue;
		const { stat, body } = decodeReply(record);
		if (stat !== 0 || body.u32() !== 0 || (procedure !== P.LOOKUP && body.u32() === 0)) continue;
		const handle = Buffer.from(body.opaque());
		if (handles.length < keep + LEARNED) handles.push(handle);
		else handles[keep + random(LEARNED)] = handle;
	}
}

/** Waits for what a campaign leaves behind at the server to be gone. */
export async function settled(stats: { connections: number; unsentBytes: number }): Promise<void> {
	for (let wait = 0; wait < 300 && (stats.connections > 0 || stats.unsentBytes > 0); wait++) await sleep(10);
}
