/** Numbers of the NBD protocol (doc/proto.md of the NBD project). */

export const NBDMAGIC = 0x4e42444d41474943n;
export const IHAVEOPT = 0x49484156454f5054n;
export const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

/** Handshake flags, the same bits for server and client. */
export const Handshake = { FIXED_NEWSTYLE: 1, NO_ZEROES: 2 } as const;

export const Option = {
	EXPORT_NAME: 1,
	ABORT: 2,
	LIST: 3,
	STARTTLS: 5,
	INFO: 6,
	GO: 7,
	STRUCTURED_REPLY: 8,
	LIST_META_CONTEXT: 9,
	SET_META_CONTEXT: 10,
} as const;

export const OptionReply = { ACK: 1, SERVER: 2, INFO: 3, META_CONTEXT: 4, ERROR_BIT: 0x80000000 } as const;

/** NBD_REP_ERR_*, without the error bit. */
export const OptionError = {
	UNSUPPORTED: 1,
	POLICY: 2,
	INVALID: 3,
	TLS_REQUIRED: 5,
	UNKNOWN: 6,
	SHUTDOWN: 7,
	TOO_BIG: 9,
} as const;

export const OptionErrors: Record<number, string> = {
	1: "not supported",
	2: "forbidden by the server's policy",
	3: "invalid request",
	4: "not supported on the server's platform",
	5: "the server requires TLS",
	6: "no such export",
	7: "the server is shutting down",
	8: "the server requires block size negotiation",
	9: "request too big",
};

export const Info = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const;

export const TransmissionFlag = {
	HAS_FLAGS: 1,
	READ_ONLY: 2,
	SEND_FLUSH: 4,
	SEND_FUA: 8,
	SEND_TRIM: 32,
	SEND_WRITE_ZEROES: 64,
	SEND_DF: 128,
	CAN_MULTI_CONN: 256,
	SEND_CACHE: 1024,
	SEND_FAST_ZERO: 2048,
} as const;

export const Command = {
	READ: 0,
	WRITE: 1,
	DISCONNECT: 2,
	FLUSH: 3,
	TRIM: 4,
	CACHE: 5,
	WRITE_ZEROES: 6,
	BLOCK_STATUS: 7,
} as const;

export const CommandFlag = { FUA: 1, NO_HOLE: 2, DF: 4, REQ_ONE: 8, FAST_ZERO: 16 } as const;

export const Chunk = {
	NONE: 0,
	OFFSET_DATA: 1,
	OFFSET_HOLE: 2,
	BLOCK_STATUS: 5,
	ERROR_BIT: 0x8000,
	ERROR: 0x8001,
} as const;
export const CHUNK_DONE = 1;

/** `base:allocation` status bits. */
export const State = { HOLE: 1, ZERO: 2 } as const;

export const BASE_ALLOCATION = "base:allocation";

/** Error numbers on the wire are Linux's, whatever the server runs on. */
export const Errno = {
	EPERM: 1,
	EIO: 5,
	ENOMEM: 12,
	EINVAL: 22,
	ENOSPC: 28,
	EOVERFLOW: 75,
	ENOTSUP: 95,
	ESHUTDOWN: 108,
} as const;

export const ErrorNames: Record<number, string> = Object.fromEntries(
	Object.entries(Errno).map(([name, number]) => [number, name]),
);

/** What a server that says nothing about block sizes must accept ("Block size constraints"). */
export const DEFAULT_BLOCK_SIZES = { minimum: 1, preferred: 4096, maximum: 32 * 1024 * 1024 };

/** Longest string the protocol allows ("Values": Strings), in bytes. */
export const STRING_MAX = 4096;
