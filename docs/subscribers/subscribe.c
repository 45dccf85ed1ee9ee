/* Hear the rejects: cc subscribe.c -lzmq -o subscribe && ./subscribe tcp://127.0.0.1:5556 result.reject. */
#include <stdio.h>
#include <string.h>
#include <zmq.h>

int main(int count, char **arguments) {
    if (count != 3) return 2;
    void *context = zmq_ctx_new(), *results = zmq_socket(context, ZMQ_SUB);
    zmq_setsockopt(results, ZMQ_SUBSCRIBE, arguments[2], strlen(arguments[2]));
    if (zmq_connect(results, arguments[1]) != 0) return 1;
    for (;;) {
        char topic[256], body[4096];
        int topic_bytes = zmq_recv(results, topic, sizeof topic - 1, 0);
        int body_bytes = zmq_recv(results, body, sizeof body - 1, 0);
        if (topic_bytes < 0 || body_bytes < 0) return 1;
        topic[topic_bytes < (int)sizeof topic ? topic_bytes : (int)sizeof topic - 1] = 0;
        body[body_bytes < (int)sizeof body ? body_bytes : (int)sizeof body - 1] = 0; /* one JSON object */
        printf("%s %s\n", topic, body);
        fflush(stdout);
    }
}
