"""Hear every result once, missed ones too: python subscribe.py tcp://127.0.0.1:5556 tcp://127.0.0.1:5557"""

import json
import sys

import zmq

context = zmq.Context()
published, requests = context.socket(zmq.SUB), context.socket(zmq.REQ)
for topic in ("result.", "heartbeat."):  # a heartbeat tells the newest seq, so that a lost last result shows
    published.subscribe(topic)
published.connect(sys.argv[1])
requests.connect(sys.argv[2])
epoch, seq = None, 0
while True:
    topic, body = published.recv_multipart()
    heard = json.loads(body)
    if heard["epoch"] != epoch:  # the daemon was started anew, or we come late: begin with the oldest that is kept
        epoch, seq = heard["epoch"], 0
    results = [heard] if topic.startswith(b"result.") and heard["seq"] == seq + 1 else []
    if not results and heard["seq"] > seq:
        requests.send_json({"op": "replay", "epoch": epoch, "after": seq})
        results = requests.recv_json()["results"]
    for result in results:
        seq = result["seq"]
        print(seq, result["verdict"], result["reason"], result["score"], flush=True)
