/* What docs/subscribers/subscribe.c needs of libzmq, for machines that have the library (pyzmq brings it) but not its header. */
#include <stddef.h>
#define ZMQ_SUB 2
#define ZMQ_SUBSCRIBE 6
void *zmq_ctx_new(void);
void *zmq_socket(void *context, int type);
int zmq_setsockopt(void *socket, int option, const void *value, size_t bytes);
int zmq_connect(void *socket, const char *endpoint);
int zmq_recv(void *socket, void *buffer, size_t bytes, int flags);
