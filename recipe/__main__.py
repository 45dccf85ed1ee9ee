"""senbetsu recipe: tells which recipe the daemon judges by, or changes it while the line runs, without a lost part."""

import argparse
import sys
from typing import Any

import zmq

from senbetsu.config import Config
from senbetsu.curve import client_curve
from senbetsu.errors import UserError
from senbetsu.messages import MessageError
from senbetsu.program import EXIT_FAULT, EXIT_OK, parser, run, set_up_logging, settings_of
from senbetsu.requests import Answer, RecipeRequest, Request, StateRequest, encode_request
from senbetsu.sockets import connect


def main(arguments: argparse.Namespace) -> int:
    """The program."""
    config = settings_of(arguments)
    if arguments.name is None:
        body = ask(config, StateRequest(), arguments.wait_s).body
        print(f"recipe {body['recipe']}; {body['state']}: {body['detail']}")  # noqa: T201
        return EXIT_OK
    answer = ask(config, RecipeRequest(name=arguments.name), arguments.wait_s)
    if not answer.ok:
        print(f"not changed: {answer.body.get('error')}", file=sys.stderr)  # noqa: T201
        return EXIT_FAULT
    body = answer.body
    print(f"recipe {body['recipe']} ({body['name']}) judges from now on; profile {body['profile_sha256'][:12]}")  # noqa: T201
    return EXIT_OK


def ask(config: Config, request: Request, wait_s: float) -> Answer:
    """The daemon's answer. Raises UserError where none comes in time, or none that is one."""
    endpoint = config.daemon.request
    curve = client_curve("recipe", config, {"daemon.request": endpoint})
    context: zmq.Context[Any] = zmq.Context()
    try:
        with context.socket(zmq.DEALER) as dealer:
            connect(dealer, "requester", endpoint, curve)
            # An immediate socket sends to a peer that is there, or waits here for one.
            if not dealer.poll(round(wait_s * 1000), zmq.POLLOUT):
                raise UserError(f"daemon.request = {endpoint!r}: nobody answers there; is the daemon up?")
            dealer.send(encode_request(request))
            if not dealer.poll(round(wait_s * 1000)):
                raise UserError(f"daemon.request = {endpoint!r}: no answer in {wait_s:g} s; its log says what it does")
            return Answer.decode(dealer.recv())
    except MessageError as error:
        raise UserError(f"daemon.request = {endpoint!r}: what answers there is no daemon: {error}") from error
    finally:
        context.term()


def flags() -> argparse.ArgumentParser:
    """The command line."""
    command = parser("recipe", "Tell which recipe the daemon judges by, or change it while the line runs.")
    command.add_argument(
        "name", nargs="?", metavar="NAME", help="the recipe's folder in recipes_dir, or that of the config's artifacts"
    )
    command.add_argument("--wait-s", type=float, default=120.0, help="wait so long for it to be loaded (default 120)")
    return command


if __name__ == "__main__":
    given = flags().parse_args()
    set_up_logging(verbose=given.verbose)
    sys.exit(run(lambda: main(given), "recipe"))
