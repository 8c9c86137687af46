// Who owns a TCP socket of this machine, asked of the kernel by its two ends (sock_diag(7)). /proc/net/tcp tells the
// same, but reading it walks the kernel's whole table: milliseconds for each connection.
#pragma once

#include <cstddef>
#include <cstdint>

#include "errors.h"

namespace sockets {

/** Address in network order, 4 or 16 bytes. */
struct End {
	const uint8_t* address;
	size_t size;
	uint16_t port;
};

/** `found` is false when there is no such socket, or its process has closed it already. Both ends are of one size. */
Failure owner(const End& local, const End& remote, bool& found, uint32_t& uid);

}  // namespace sockets
