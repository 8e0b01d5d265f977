"""`lrfinder verify` as people and scripts run it: confirmed, corrected, undecided, interrupted, in parallel."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lrfinder
from helpers.models import GOOD_WITH_VAL
from helpers.processes import environment
from helpers.zygote import Zygote
from lrfinder.store import load_run

BUDGET = ("--steps", "120", "--budget", "360")
_STARTED: list[Zygote] = []  # what `run` starts its commands by


@pytest.fixture(scope="module", autouse=True)
def commands(zygote: Zygote) -> Iterator[None]:
    """Commands of this module start at once."""
    _STARTED.append(zygote)
    yield
    _STARTED.clear()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model file and its run."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "model.py").write_text(GOOD_WITH_VAL)
    run(folder, "sweep", "model.py", "--out", "run", "--run-steps", "15", "--steps", "50", "--quiet", status=0)
    return folder


@pytest.fixture
def folder(swept: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(swept, tmp_path / "work"))


def run(folder: Path, *args: object, status: int | tuple[int, ...]) -> subprocess.CompletedProcess[str]:
    code, child = _STARTED[0].run(*args, cwd=folder, timeout=200)
    assert code in ((status,) if isinstance(status, int) else status), child.stderr
    return subprocess.CompletedProcess(args, code, child.stdout, child.stderr)


def verified(folder: Path, *args: object, status: int | tuple[int, ...] = (0, 1)) -> dict:
    return json.loads(run(folder, "verify", "run", *BUDGET, "--json", *args, status=status).stdout)


def test_it_confirms_or_corrects_and_says_so_with_its_status(folder: Path) -> None:
    done = run(folder, "verify", "run", *BUDGET, "--json", status=(0, 1))
    said = json.loads(done.stdout)
    assert said["confirmed"] is (done.returncode == 0)
    assert said["picks"][0]["rule"] == "verified"
    assert said["config"]["optimizer"]["lr"] == said["picks"][0]["lr"]
    assert said["picks"][0]["low"] <= said["picks"][0]["lr"] <= said["picks"][0]["high"]
    assert said["config"]["evidence"]["rule"] == "verified"
    spent = sum(trial["updates"] for trial in said["trials"])
    assert 0 < spent <= 360
    swept = json.loads(run(folder, "recommend", "run", "--steps", 120, "--unverified", "--json", status=0).stdout)
    assert said["updates"] == swept["updates"] + spent
    config = lrfinder.load_schedule(folder / said["written"])
    assert len(config.lrs()) == 120
    assert len((folder / "run" / "trials.jsonl").read_text().splitlines()) == len(said["trials"])
    assert json.loads((folder / "run" / "verification.json").read_text()) == said


def paced(folder: Path, seconds: float) -> None:
    """Let the sweep have taken so many seconds for each update."""
    file = folder / "run" / "cost.json"
    cost = json.loads(file.read_text())
    file.write_text(json.dumps({**cost, "seconds": seconds * cost["updates"]}))


def test_a_budget_in_time_is_what_so_many_updates_of_the_sweep_took(folder: Path) -> None:
    copy = Path(shutil.copytree(folder, folder.parent / "copy"))
    paced(folder, 0.5)
    done = run(folder, "verify", "run", "--steps", 120, "--budget", "3min", "--json", status=(0, 1))
    by_time, by_updates = json.loads(done.stdout), verified(copy)
    assert by_time["trials"] == by_updates["trials"]
    assert by_time["account"]["planned"]["updates"] <= 360
    said = "about 3 min 00 s, 0."
    assert f"trials: at most {by_time['account']['planned']['updates']} updates, " in done.stderr
    assert said in done.stderr or by_time["account"]["planned"]["updates"] < 360
    spent = by_time["account"]["spent"]
    assert spent["updates"] == sum(trial["updates"] for trial in by_time["trials"])
    assert 0 < spent["seconds"] < 60, "the trials' own time"


def test_on_a_machine_that_got_slower_trials_aren_t_begun_and_none_is_broken_off(folder: Path) -> None:
    paced(folder, 1e-6)
    args = ("verify", "run", "--steps", 120)
    first = run(folder, *args, "--budget", "0.001s", status=(0, 1, 5))
    log = folder / "run" / "trials.jsonl"  # on a slow machine not even one was begun
    trials = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    assert {trial["stop"] for trial in trials} <= {"completed", "diverged"}
    assert "of a budget of 0.001s; then the time was over, and " in first.stdout
    again = json.loads(run(folder, *args, "--budget", "1min", "--json", status=(0, 1)).stdout)
    assert again["account"]["unbegun"] == 0
    assert again["trials"][: len(trials)] == trials


def test_without_the_times_of_the_sweep_a_time_is_refused(folder: Path) -> None:
    (folder / "run" / "cost.json").unlink()
    done = run(folder, "verify", "run", "--steps", 120, "--budget", "5min", status=2)
    assert "how many updates 5min pay for isn't known" in done.stderr
    (folder / "run" / "cost.json").write_text('{"updates": 1, "seconds": -1}')
    assert (
        "cost.json: cost: Value error, seconds must be" in run(folder, "verify", "run", "--steps", 120, status=2).stderr
    )


def test_a_corrected_rate_once_written_is_confirmed_without_another_update(folder: Path) -> None:
    said = verified(folder, "--lr", "1e-4", status=1)
    assert said["config"]["optimizer"]["lr"] > 1e-3
    again = json.loads(run(folder, "verify", "run/schedule.yaml", "--budget", "360", "--json", status=0).stdout)
    assert again["config"]["optimizer"]["lr"] == pytest.approx(said["config"]["optimizer"]["lr"])
    assert again["trials"] == said["trials"]


def test_two_processes_measure_what_one_does(folder: Path) -> None:
    copy = Path(shutil.copytree(folder, folder.parent / "copy"))
    one, two = verified(folder), verified(copy, "--jobs", 2)
    by_plan = lambda said: sorted((t["plan"]["steps"], t["plan"]["lr"], t["loss"]) for t in said["trials"])  # noqa: E731
    assert by_plan(one) == by_plan(two)
    assert one["picks"] == two["picks"]


def test_trials_resume_after_a_kill(zygote: Zygote, folder: Path) -> None:
    slow = GOOD_WITH_VAL.replace("return nn.functional", "time.sleep(0.02); return nn.functional")
    (folder / "model.py").write_text(slow)
    log = folder / "run" / "trials.jsonl"
    process = zygote.start("verify", "run", *BUDGET, "--quiet", cwd=folder)
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and (not log.exists() or not log.read_text().strip()):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = log.read_text().splitlines()
    assert kept
    (folder / "model.py").write_text(GOOD_WITH_VAL)
    verified(folder)
    assert log.read_text().splitlines()[: len(kept)] == kept
    plans = [json.dumps(json.loads(line)["plan"]) for line in log.read_text().splitlines()]
    assert len(set(plans)) == len(plans), "none was made twice"


@pytest.mark.parametrize(("number", "status", "jobs"), [(signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 2)])
def test_an_interruption_leaves_with_its_status_and_what_was_measured(
    zygote: Zygote, folder: Path, number: int, status: int, jobs: int
) -> None:
    slow = GOOD_WITH_VAL.replace("return nn.functional", "time.sleep(0.02); return nn.functional")
    (folder / "model.py").write_text(slow)
    log = folder / "run" / "trials.jsonl"
    process = zygote.start("verify", "run", *BUDGET, "--quiet", "--json", "--jobs", jobs, cwd=folder)
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and (not log.exists() or not log.read_text().strip()):
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait() == status, process.stderr
    assert "Traceback" not in process.stderr
    if jobs == 1:  # where the run is in another process, nothing of it is known, and the message is all
        said = json.loads(process.stdout)
        assert (said["config"], said["confirmed"], said["written"]) == (None, None, None)
        assert said["why"].endswith("are kept in run")
        assert said["hint"] == "the same command carries on"
        spent = sum(json.loads(line)["updates"] for line in log.read_text().splitlines())
        assert said["updates"] == load_run(folder / "run").updates + spent
    else:
        assert json.loads(process.stdout)["error"]["exit_status"] == status
    assert log.read_text().strip()


def test_other_shapes_are_tried(folder: Path) -> None:
    said = verified(folder, "--schedules", "cosine,constant", "--budget", "600")
    assert {trial["plan"]["schedule"] for trial in said["trials"]} == {"linear", "cosine", "constant"}
    assert "shape" in said["why"]


def test_a_shape_that_rises_by_itself_takes_no_warmup_from_the_last_config(folder: Path) -> None:
    run(folder, "recommend", "run", "--steps", 120, "--warmup", 20, "--json", status=0)
    said = json.loads(run(folder, "verify", "run", *BUDGET, "--schedule", "one-cycle", "--json", status=(0, 1)).stdout)
    assert (said["config"]["schedule"]["name"], said["config"]["schedule"]["steps"]) == ("one-cycle", 120)


def test_of_a_run_that_keeps_its_rate_constant_the_trials_do_so_too(folder: Path) -> None:
    decays = json.loads(run(folder, "recommend", "run", "--steps", 120, "--json", status=0).stdout)
    half = pytest.approx(decays["config"]["optimizer"]["lr"] / 2, rel=0.01)
    said = json.loads(run(folder, "verify", "run", "--schedule", "constant", "--json", status=(0, 1)).stdout)
    assert {trial["plan"]["schedule"] for trial in said["trials"]} == {"constant"}
    assert half in [trial["plan"]["lr"] for trial in said["trials"]]
    assert "Each trial kept its rate constant, as the run will." in said["why"]
    assert (said["config"]["schedule"]["name"], said["config"]["schedule"]["steps"]) == ("constant", 120)
    held = json.loads(
        run(
            folder, "recommend", "run", "--steps", 120, "--schedule", "constant", "--unverified", "--json", status=0
        ).stdout
    )
    assert (held["config"]["optimizer"]["lr"], held["status"]) == (half, "uncertain")


def test_for_people_it_prints_a_table_the_reason_and_what_to_do(folder: Path) -> None:
    done = run(folder, "verify", "run", *BUDGET, "--write", "here.json", "--against", "1e-5", status=(0, 1))
    assert "Yours, 1e-05, loses" in " ".join(done.stdout.split())
    assert ("expected to lose at most" in done.stdout) is not ("What it may cost can't be told" in done.stdout)
    for part in ("updates", "The peak rate is", "Written: here.json", "load_schedule"):
        assert part in done.stdout
    assert json.loads((folder / "here.json").read_text())["optimizer"]["lr"] > 0
    where = "end lowest around"  # where the trials point: only for those who ask
    assert where not in done.stdout
    assert where in run(folder, "verify", "run", *BUDGET, "--against", "1e-5", "--details", status=(0, 1)).stdout


def test_without_arguments_it_takes_the_newest_run_and_corrects_the_recommended_config(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(GOOD_WITH_VAL)
    swept = json.loads(run(tmp_path, "sweep", "model.py", "--run-steps", 15, "--steps", 50, "--json", status=0).stdout)
    missing = run(tmp_path, "verify", status=2)
    assert "the length of the coming run is needed" in missing.stderr
    assert "lrfinder recommend" in missing.stderr
    run(tmp_path, "recommend", "--steps", 120, "--lr", "1e-4", "--write", "schedule.yaml", "--quiet", status=0)
    done = run(tmp_path, "verify", "--budget", 360, status=1)
    assert f"the newest run: {swept['run']}" in done.stderr
    assert "corrected from 1e-04 to" in done.stdout
    assert "Corrected: schedule.yaml: " in done.stdout
    corrected = lrfinder.load_schedule(tmp_path / "schedule.yaml")
    assert corrected.optimizer.lr > 1e-3
    assert (corrected.steps, corrected.evidence.rule) == (120, "verified")
    assert not (tmp_path / swept["run"] / "schedule.yaml").exists()
    # A file of another run, at that place since, is not touched.
    other = (tmp_path / "schedule.yaml").read_text().replace(swept["run"], "elsewhere/run")
    (tmp_path / "schedule.yaml").write_text(other)
    said = json.loads(run(tmp_path, "verify", "--budget", 360, "--json", status=1).stdout)
    assert said["written"] == f"{swept['run']}/schedule.yaml"
    assert (tmp_path / "schedule.yaml").read_text() == other


def test_a_model_that_does_not_learn_is_inconclusive(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        GOOD_WITH_VAL.replace("nn.functional.cross_entropy(net(x), y)", "net(x).sum() * 0 + 1")
    )
    run(tmp_path, "sweep", "model.py", "--out", "run", "--run-steps", 15, "--steps", 50, "--quiet", status=5)
    done = run(tmp_path, "verify", "run", *BUDGET, status=5)
    assert "no recommendation to verify" in done.stdout
    said = json.loads(run(tmp_path, "verify", "run", *BUDGET, "--json", status=5).stdout)
    assert (said["config"], said["confirmed"], said["trials"]) == (None, None, [])
    assert said["picks"][0]["status"] == "refused"
    assert said["picks"][0]["lr"] is None
    assert said["why"] == said["picks"][0]["why"]
    assert said["updates"] == load_run(tmp_path / "run").updates


def test_the_users_fault_in_a_trial_is_3_with_his_frames_also_from_another_process(folder: Path) -> None:
    (folder / "model.py").write_text(
        GOOD_WITH_VAL.replace("return nn.functional", "raise KeyError('mine')\n    return nn.functional")
    )
    for jobs in (1, 2):
        done = run(folder, "verify", "run", *BUDGET, "--jobs", jobs, status=3)
        assert "mine" in done.stderr
        assert 'model.py", line ' in done.stderr


def test_a_process_that_dies_is_the_machines_fault(folder: Path) -> None:
    (folder / "model.py").write_text(
        GOOD_WITH_VAL.replace("return nn.functional", "import os; os._exit(9)\n    return nn.functional")
    )
    done = run(folder, "verify", "run", *BUDGET, "--jobs", 2, status=4)
    assert "fewer --jobs" in done.stderr


USAGE = {
    "no length": (("verify", "run"), "--steps"),
    "no run": (("verify", "nowhere", "--steps", "100"), "not a run folder"),
    "bad budget": (("verify", "run", "--steps", "100", "--budget", "lots"), "budget"),
    "unknown shape": (("verify", "run", "--steps", "100", "--schedules", "wiggly"), "wiggly"),
    "no rate": (("verify", "run", "--steps", "100", "--against", "0"), "above 0"),
    "no jobs": (("verify", "run", "--steps", "100", "--jobs", "0"), "--jobs"),
    "moved model": (("verify", "run", "--steps", "100", "--model", "gone.py"), "gone.py"),
}


@pytest.mark.parametrize("case", USAGE)
def test_bad_usage_is_2(case: str, folder: Path) -> None:
    args, message = USAGE[case]
    assert message in run(folder, *args, status=2).stderr


def test_the_python_call_says_what_the_command_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = verified(folder)
    monkeypatch.chdir(folder)
    verification = lrfinder.verify("run", steps=120, budget=360)
    assert verification.confirmed is said["confirmed"]
    assert verification.lr == said["picks"][0]["lr"]
    assert verification.why == said["why"]
    verification.save("config.toml")
    assert lrfinder.load_schedule("config.toml").optimizer.lr == verification.lr
    assert verification.status == said["picks"][0]["status"]
    assert lrfinder.verify("run", steps=120, budget=360.0).lr == verification.lr, "a whole number as a float"
    for budget in (3, 2.5, -1, float("nan"), float("inf")):
        with pytest.raises(lrfinder.UsageError, match="budget"):
            lrfinder.verify("run", steps=120, budget=budget)


def test_the_files_own_rate_is_among_the_trials_and_judged_on_the_same_held_out_batches(folder: Path) -> None:
    live = GOOD_WITH_VAL[: GOOD_WITH_VAL.index("def optimizer")].replace("def model():\n    return nn", "model = nn")
    (folder / "live.py").write_text(live + "optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)\n")
    run(folder, "sweep", "live.py", "--out", "own", "--run-steps", 15, "--steps", 50, "--quiet", status=0)
    done = run(folder, "verify", "own", "--steps", 120, "--against", 0.05, "--json", status=(0, 1))
    said = json.loads(done.stdout)
    assert "trials: at most 840 updates, about " in done.stderr, "five runs, and one for each rate to compare with"
    made = {trial["plan"]["lr"]: trial for trial in said["trials"]}
    assert {trial["plan"]["steps"] for trial in said["trials"]} == {120}
    assert len({(trial["initial_loss"], trial["seed"]) for trial in said["trials"]}) == 1
    start, lowest = made[1e-4]["initial_loss"], min(trial["loss"] for trial in said["trials"])
    own, asked = said["against"]
    assert (own["lr"], own["measured"], asked["lr"], asked["measured"]) == (1e-4, True, 0.05, True)
    at_pick = made.get(said["config"]["optimizer"]["lr"])
    if at_pick is not None:
        assert own["worse"] == pytest.approx((made[1e-4]["loss"] - at_pick["loss"]) / (start - lowest))
    assert own["worse"] == said["worse"] > 0.5
    assert f"Yours, 1e-04, loses {own['worse']:.0%} more of what training gains" in said["why"]
    assert "The rate to compare with, 0.05, " in said["why"]
    assert said["account"]["spent"]["updates"] == sum(trial["updates"] for trial in said["trials"]) <= 840
    advised = json.loads(run(folder, "recommend", "own", "--steps", 120, "--unverified", "--json", status=0).stdout)
    assert all(rate["worse"] is not None for rate in advised["against"]), "unasked, it says only what it knows"


@pytest.mark.parametrize("mode", ["restart", "auto", "continuous"])
def test_every_mode_ends_in_a_recommendation(folder: Path, mode: str) -> None:
    swept = json.loads(
        run(folder, "sweep", "model.py", "--mode", mode, "--out", mode, "--run-steps", 15, "--json", status=0).stdout
    )
    assert bool(swept["runs"]) is (mode != "continuous")
    assert bool(swept["repeats"]) is (mode != "restart")
    said = json.loads(run(folder, "recommend", mode, "--steps", 120, "--json", status=0).stdout)
    assert said["picks"][0]["rule"] == ("steepest" if mode == "continuous" else "trials")
    assert 1e-3 < said["config"]["optimizer"]["lr"] < 10
    assert (folder / mode / "curve.png").read_bytes()[:4] == b"\x89PNG"
    shown = run(folder, "recommend", mode, "--steps", 120, status=0).stdout
    assert "Suggested peak learning rate: " in shown


def test_what_was_verified_is_kept_by_recommend(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(GOOD_WITH_VAL)
    run(tmp_path, "sweep", "model.py", "--out", "run", "--run-steps", 15, "--steps", 50, "--quiet", status=0)
    alone = json.loads(run(tmp_path, "recommend", "run", "--steps", 120, "--json", status=0).stdout)
    run(tmp_path, "recommend", "run", "--steps", 120, "--lr", "1e-4", "--quiet", status=0)
    verified = json.loads(run(tmp_path, "verify", "run", "--budget", 360, "--json", status=1).stdout)
    again = run(tmp_path, "recommend", "run", "--steps", 120, status=0)
    assert "the rate is the verified one; --unverified" in again.stderr
    assert lrfinder.load_schedule(tmp_path / "run" / "schedule.yaml").as_data() == verified["config"]
    other = json.loads(run(tmp_path, "recommend", "run", "--steps", 500, "--json", status=0).stdout)
    assert other["config"]["evidence"]["rule"] != "verified"
    back = json.loads(run(tmp_path, "recommend", "run", "--steps", 120, "--unverified", "--json", status=0).stdout)
    assert back["config"]["optimizer"] == alone["config"]["optimizer"]


def test_a_second_process_on_the_same_run_is_told_to_wait_and_doubles_nothing(folder: Path) -> None:
    log = folder / "run" / "trials.jsonl"
    hold = "import sys, pathlib, lrfinder.store as s\nwith s.RunLog(pathlib.Path(sys.argv[1])) as log:\n"
    hold += "    print(log.hold(), flush=True)\n    sys.stdin.read()"
    first = subprocess.Popen(
        [sys.executable, "-c", hold, str(log)], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdout is not None
    assert first.stdout.readline() == b"()\n"
    second = run(folder, "verify", "run", *BUDGET, status=2)
    assert "another process is making trials of this run" in second.stderr
    assert not log.read_text()
    first.communicate()
    assert verified(folder)["trials"]
