"""Recipes change while parts come: each part has one result, by the recipe that was active at its trigger."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from senbetsu.messages import Result
from senbetsu.requests import Answer, RecipeRequest
from senbetsu.verdict import Reason

Start = Any
PASSES = 50
BY_RECIPE = {1: (1.0, "p" * 64, Reason.OK), 2: (0.3, "q" * 64, Reason.ANOMALY)}
"""Threshold, profile, and what they say of a part that scores .5."""


def recipe(line: Any, name: str = "small", *, toml: str = "recipe = 2\n", **judge: Any) -> Path:
    folder: Path = line.folder / "recipes" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(toml)
    (folder / "judge.json").write_text(json.dumps({"threshold": 0.3, "profile_sha256": "q" * 64, **judge}))
    return folder


def names_artifacts(line: Any, folder: str) -> None:
    """In the config file."""
    line.config_file.write_text(f'artifacts = "{folder}"\n' + line.config_file.read_text())


def command(line: Any, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "recipe", "--config", str(line.config_file), *arguments],
        cwd=line.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def parts_until(line: Any, enough: Callable[[list[Result]], bool], most: int = 20_000) -> list[Result]:
    """Parts one after another, some on their way at any time, until `enough(results)`; all results, by trigger."""
    sent = 0
    while not enough(line.results()):
        sent += 1
        assert sent < most, line.log
        assert line.trigger(sent).ok
        line.hear(lambda heard, sent=sent: len(heard.results()) >= sent - 6)
    line.hear(lambda heard: len(heard.results()) >= sent)
    line.until_ready()  # another heartbeat, so that one result too many would have been heard
    results = sorted(line.results(), key=lambda result: result.trigger)
    assert [result.trigger for result in results] == list(range(1, sent + 1))
    return results


def judged_by_what_they_say(results: list[Result]) -> None:
    for result in results:
        assert (result.threshold, result.profile_sha256, result.reason) == BY_RECIPE[result.recipe]


def has_judged(number: int, count: int) -> Callable[[list[Result]], bool]:
    return lambda results: sum(result.recipe == number for result in results) >= count


def test_changed_by_command_under_load_every_part_has_one_result_by_the_recipe_of_its_trigger(
    start_line: Start,
) -> None:
    line = start_line([PASSES], delay_ms=2)
    line.until_ready()
    recipe(line, load_ms=300)
    changing = command(line, "small")
    results = parts_until(line, has_judged(2, 50))
    judged_by_what_they_say(results)
    assert results[0].recipe == 1
    assert all(later.recipe >= earlier.recipe for earlier, later in pairwise(results))
    assert Counter(result.recipe for result in results)[1] > 20, "the line ran on while it was loaded"
    stdout, stderr = changing.communicate(timeout=20)
    assert changing.returncode == 0, stderr
    assert "recipe 2 (small) judges from now on" in stdout
    assert (line.state()["recipe"], line.state()["profile_sha256"]) == (2, "q" * 64)


def test_changed_by_sighup_under_load_to_what_the_config_file_names_now(start_line: Start) -> None:
    line = start_line([PASSES], delay_ms=2)
    line.until_ready()
    recipe(line, load_ms=200)
    names_artifacts(line, "recipes/small")
    line.process.send_signal(signal.SIGHUP)
    results = parts_until(line, has_judged(2, 50))
    judged_by_what_they_say(results)
    assert all(later.recipe >= earlier.recipe for earlier, later in pairwise(results))


def test_sighup_loads_the_active_recipe_anew_where_the_config_file_names_no_other(start_line: Start) -> None:
    line = start_line([PASSES])
    line.until_ready()
    recipe(line)
    assert line.ask(RecipeRequest(number=2)).body["profile_sha256"] == "q" * 64
    recipe(line, threshold=0.7, profile_sha256="r" * 64)
    line.process.send_signal(signal.SIGHUP)
    results = parts_until(line, lambda results: bool(results) and results[-1].profile_sha256 == "r" * 64)
    assert (results[-1].recipe, results[-1].threshold, results[-1].reason) == (2, 0.7, Reason.OK)


@pytest.mark.parametrize(
    ("program", "module", "count"),
    [(["daemon"], "argparse", 1), (["senbetsu.cli", "daemon"], "site", 2)],
    ids=["python -m daemon", "senbetsu daemon"],
)
def test_sighup_from_the_first_moment_on_does_not_end_it(
    program: list[str], module: str, count: int, tmp_path: Path
) -> None:
    """Sent once for each module that the daemon's interpreter imports: it gets as far as its config all the same."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", *program], cwd=tmp_path, env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    sent, told = 0, []
    for line in process.stderr:
        told.append(line)
        count -= line.rstrip().endswith(f" {module}")
        if count <= 0:
            process.send_signal(signal.SIGHUP)
            sent += 1
    assert process.wait(timeout=90) == 2
    assert "no camera is configured" in told[-1]
    assert sent > 100


def test_what_waits_at_the_change_is_judged_by_the_recipe_before_it(start_line: Start) -> None:
    line = start_line([PASSES], delay_ms=300, max_batch=1)
    line.until_ready()
    recipe(line)
    for number in (1, 2, 3):
        assert line.trigger(number).ok
    assert line.ask(RecipeRequest(name="small")).ok
    before = len(line.results())
    assert line.trigger(4).ok
    results = {result.trigger: result for result in line.until_results(4)}
    assert before < 3, "some were still waiting"
    assert [results[number].recipe for number in (1, 2, 3, 4)] == [1, 1, 1, 2]
    judged_by_what_they_say(list(results.values()))


def test_a_recipe_that_does_not_load_leaves_the_one_before_and_says_so(start_line: Start) -> None:
    line = start_line([PASSES])
    line.until_ready()
    recipe(line).joinpath("judge.json").unlink()
    changing = command(line, "small")
    _, stderr = changing.communicate(timeout=20)
    assert changing.returncode == 1
    assert "judge.json: missing" in stderr
    for count, (toml, says) in enumerate(
        [
            ("recipe = 2\n", "judge.json: missing"),
            ("recipe = ", "not valid TOML"),
            ("recipe = 2\n[[gates]]\n", "gates: belongs to the line"),
        ],
        start=2,
    ):
        (line.folder / "recipes/small/recipe.toml").write_text(toml)
        answer = line.ask(RecipeRequest(name="small"))
        assert not answer.ok
        assert says in answer.body["error"]
        line.hear(lambda heard, says=says: heard.states() and says in heard.states()[-1].detail)
        assert "artifacts (1) goes on" in line.state()["detail"]
        assert says in line.log
        with urllib.request.urlopen(f"http://127.0.0.1:{line.metrics_port}/metrics", timeout=10) as page:
            metrics = page.read().decode()
        assert f'senbetsu_recipe_loads_total{{outcome="failed"}} {count}.0' in metrics
        assert "senbetsu_recipe 1.0" in metrics
    judged_by_what_they_say(parts_until(line, has_judged(1, 5)))
    recipe(line)
    assert line.ask(RecipeRequest(name="small")).ok, "put right, it loads"
    line.hear(lambda heard: heard.states()[-1].recipe == 2 and "not loaded" not in heard.states()[-1].detail)


def test_a_config_file_with_other_cameras_takes_a_restart_and_says_so(start_line: Start) -> None:
    line = start_line([PASSES])
    line.until_ready()
    line.config_file.write_text(line.config_file.read_text().replace("loop = true", "loop = true\nbuffer_frames = 9"))
    line.process.send_signal(signal.SIGHUP)
    line.hear(lambda heard: heard.states() and "cameras: changed in the config file" in heard.states()[-1].detail)
    judged_by_what_they_say(parts_until(line, has_judged(1, 5)))


def test_a_trigger_for_another_recipe_than_the_active_one_is_refused(running: Any) -> None:
    refused = running.ask(b'{"op":"trigger","gate":"gate1","trigger":1,"deadline_ms":5000,"recipe":2}')
    assert (refused.ok, refused.body["reason"]) == (False, "RECIPE")
    assert running.ask(b'{"op":"trigger","gate":"gate1","trigger":2,"deadline_ms":5000,"recipe":1}').ok
    assert [result.trigger for result in running.until_results(1)] == [2]


def test_while_one_is_loaded_another_is_refused_and_the_same_is_waited_for(start_line: Start) -> None:
    line = start_line([PASSES])
    line.until_ready()
    recipe(line, load_ms=500)
    recipe(line, "large", toml="recipe = 3\n")
    for request in ('"number":2', '"number":3', '"number":2'):
        line.send(f'{{"op":"recipe",{request}}}'.encode())
    answers: list[Answer] = [line.receive() for _ in range(3)]
    assert [answer.ok for answer in answers] == [False, True, True]
    assert "is being loaded" in answers[0].body["error"]
    assert line.heartbeats()[-1].recipe == 1
    assert line.hear(lambda heard: heard.heartbeats()[-1].recipe == 2)


def test_told_to_stop_while_a_recipe_is_loaded_it_answers_and_ends(start_line: Start) -> None:
    line = start_line([PASSES])
    line.until_ready()
    recipe(line, load_ms=60_000)
    line.send(RecipeRequest(name="small"))
    line.hear(lambda heard: heard.states() and "loading recipe small" in heard.states()[-1].detail)
    line.process.send_signal(signal.SIGTERM)
    answer = line.receive()
    assert not answer.ok
    assert "stopping" in answer.body["error"]
    assert line.ends() == 0


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b'{"op":"recipe"}', "either name or number"),
        (b'{"op":"recipe","name":"small","number":2}', "either name or number"),
        (b'{"op":"recipe","number":0}', "number: expected an integer from 1 to 65535 or null"),
        (b'{"op":"recipe","name":7}', "name: expected a text"),
        (b'{"op":"recipe","name":"../../etc"}', "there is none; there are artifacts"),
    ],
)
def test_a_request_that_names_no_recipe_is_refused(running: Any, request_: bytes, says: str) -> None:
    answer = running.ask(request_)
    assert not answer.ok
    assert says in answer.body["error"]


def test_the_command_without_a_name_tells_what_is_active_and_without_a_daemon_that_nobody_answers(
    running: Any, tmp_path: Path
) -> None:
    stdout, _ = command(running).communicate(timeout=20)
    assert stdout.startswith("recipe 1; ")
    (tmp_path / "empty.toml").write_text('[daemon]\nrequest = "tcp://127.0.0.1:1"\n')
    done = subprocess.run(
        [sys.executable, "-P", "-m", "recipe", "--config", str(tmp_path / "empty.toml"), "--wait-s", "0.2", "small"],
        capture_output=True, text=True, timeout=20, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is the daemon up?" in done.stderr
