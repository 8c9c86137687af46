/** Constants of ONC RPC v2 (RFC 5531). */

export const CALL = 0;
export const REPLY = 1;
export const RPC_VERSION = 2;

export const MSG_ACCEPTED = 0;
export const MSG_DENIED = 1;

/** accept_stat, RFC 5531 section 9 */
export const SUCCESS = 0;
export const PROG_UNAVAIL = 1;
export const PROG_MISMATCH = 2;
export const PROC_UNAVAIL = 3;
export const GARBAGE_ARGS = 4;
export const SYSTEM_ERR = 5;

/** reject_stat */
export const RPC_MISMATCH = 0;
export const AUTH_ERROR = 1;

/** auth_stat */
export const AUTH_BADCRED = 1;
export const AUTH_BADVERF = 3;

export const AUTH_NONE = 0;
export const AUTH_SYS = 1;
/** opaque_auth bodies are at most this long, RFC 5531 section 8.2 */
export const AUTH_MAX = 400;

/** top bit of a record mark: last fragment, RFC 5531 section 11 */
export const LAST_FRAGMENT = 0x8000_0000;

export const PORTMAP_PROGRAM = 100000;
export const NFS_PROGRAM = 100003;
export const MOUNT_PROGRAM = 100005;
