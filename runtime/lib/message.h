/* Packets with descriptors over AF_UNIX sockets (unix(7), SCM_RIGHTS), and the sockets themselves. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "error.h"

enum { COW_MESSAGE_FDS = 40, COW_MESSAGE_SIZE = 65536 };

/* Sends `size` bytes with `nfds` descriptors (0 to COW_MESSAGE_FDS). 0 or -1 with errno. */
int cow_message_send(int sock, const void *data, size_t size, const int *fds, size_t nfds);
/*
 * Receives one packet. Descriptors come close-on-exec; *nfds holds the room on entry and the count on return;
 * more than there was room for are closed and the call fails with EMSGSIZE. Returns the bytes, 0 at the end, -1 with
 * errno.
 */
ssize_t cow_message_recv(int sock, void *data, size_t room, int *fds, size_t *nfds);

/* Binds and listens at `path` (mode 0600), or connects to it. type: SOCK_STREAM or SOCK_SEQPACKET. Descriptor or -1. */
int cow_socket_listen(const char *path, int type, struct cow_error **err);
int cow_socket_connect(const char *path, int type, struct cow_error **err);
