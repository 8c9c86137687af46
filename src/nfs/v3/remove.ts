/** REMOVE, RFC 1813 section 3.3.12. */
import { defineUnlink } from "./unlink.js";

export const remove = defineUnlink("REMOVE", (directory, caller, name) => directory.remove(caller, name));
