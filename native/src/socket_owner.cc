// One exact-match request of sock_diag(7), linux/inet_diag.h. The kernel answers before sendto returns.
#include "socket_owner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace sockets {

namespace {

struct Request {
	nlmsghdr header;
	inet_diag_req_v2 body;
};

/** Closes what it holds. */
struct Descriptor {
	int fd;
	~Descriptor() {
		if (fd >= 0) close(fd);
	}
};

}  // namespace

Failure owner(const End& local, const End& remote, bool& found, uint32_t& uid) {
	found = false;
	const Descriptor netlink{socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)};
	if (netlink.fd < 0) return Failure{errno, "socket", {}};

	Request request;
	memset(&request, 0, sizeof(request));
	request.header.nlmsg_len = sizeof(request);
	request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	request.header.nlmsg_flags = NLM_F_REQUEST;
	request.body.sdiag_family = local.size == 4 ? AF_INET : AF_INET6;
	request.body.sdiag_protocol = IPPROTO_TCP;
	request.body.idiag_states = ~0u;
	request.body.id.idiag_sport = htons(local.port);
	request.body.id.idiag_dport = htons(remote.port);
	memcpy(request.body.id.idiag_src, local.address, std::min(local.size, sizeof(request.body.id.idiag_src)));
	memcpy(request.body.id.idiag_dst, remote.address, std::min(remote.size, sizeof(request.body.id.idiag_dst)));
	request.body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	request.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;

	sockaddr_nl kernel;
	memset(&kernel, 0, sizeof(kernel));
	kernel.nl_family = AF_NETLINK;
	const auto* const to = reinterpret_cast<const sockaddr*>(&kernel);
	if (sendto(netlink.fd, &request, sizeof(request), 0, to, sizeof(kernel)) < 0) return Failure{errno, "sendto", {}};

	alignas(nlmsghdr) char answer[4096];
	const ssize_t got = recv(netlink.fd, answer, sizeof(answer), MSG_DONTWAIT);
	if (got < 0) return Failure{errno, "recv", {}};
	const auto* const header = reinterpret_cast<const nlmsghdr*>(answer);
	if (!NLMSG_OK(header, static_cast<size_t>(got))) return Failure{EBADMSG, "recv", {}};
	if (header->nlmsg_type == NLMSG_ERROR) {
		if (header->nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) return Failure{EBADMSG, "recv", {}};
		const int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
		return error == ENOENT ? Failure{} : Failure{error == 0 ? EBADMSG : error, "sock_diag", {}};
	}
	if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY || header->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg)))
		return Failure{EBADMSG, "recv", {}};
	const auto* const message = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
	// Without a connection of these ends the kernel answers with who listens on the local one.
	if (message->idiag_state == TCP_LISTEN || message->id.idiag_dport != request.body.id.idiag_dport) return Failure{};
	// Inode 0: closed by its process; the kernel then says uid 0, which is not true.
	if (message->idiag_inode == 0) return Failure{};
	found = true;
	uid = message->idiag_uid;
	return Failure{};
}

}  // namespace sockets
