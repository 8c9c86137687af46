/** RMDIR, RFC 1813 section 3.3.13. */
import { defineUnlink } from "./unlink.js";

export const rmdir = defineUnlink("RMDIR", (directory, caller, name) => directory.removeDirectory(caller, name));
