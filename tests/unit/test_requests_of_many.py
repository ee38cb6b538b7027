"""What a release on many Droplets asks of Spaces: as much for each of them as on few."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agent import follow, rollout
from protocol.release import DESIRED, Desired, Release
from provider.traffic import turns
from provider.traffic.turns import Reports, Turns
from tests.unit.droplet_world import CONFIG, FakeMachine, FakeSpaces, World
from tests.unit.test_turns_machine import Bucket

LOOK = 0.5  # seconds, the runner's


class Counting(FakeSpaces):
    """Spaces that count what agents ask."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def get(self, bucket: str, key: str, *, unless: str = "") -> Any:  # noqa: ANN401 - the agent's
        """Count a look."""
        self.counts["looks"] += 1
        return super().get(bucket, key, unless=unless)

    def put(self, bucket: str, key: str, content: Any, headers: Any) -> None:  # noqa: ANN401 - the agent's
        """Count a report; static files are as many as the app has."""
        self.counts["reports"] += bucket == "state"
        super().put(bucket, key, content, headers)


class CountingBucket(Bucket):
    """The same of the runner."""

    def get_json(self, bucket: str, key: str) -> Any:  # noqa: ANN401 - any JSON
        """Count what it reads."""
        assert isinstance(self.spaces, Counting)
        self.spaces.counts["read by the runner"] += 1
        return super().get_json(bucket, key)


def second_release(count: int, folder: Path, patch: pytest.MonkeyPatch) -> tuple[Counter[str], float]:
    """Count what a release asks for that follows another one, and its seconds; a step on a Droplet takes none."""
    world, spaces, clock = World(folder, patch), Counting(), [0.0]
    patch.setattr(follow, "Spaces", spaces.client)
    patch.setattr(follow.time, "monotonic", lambda: clock[0])
    for module, name, value in ((follow, "log", None), (rollout, "log", None), (turns, "report", None)):
        patch.setattr(module, name, lambda _text, value=value: value)
    names = [str(1000 + number) for number in range(count)]
    machines = {name: FakeMachine(folder / name) for name in names}
    for name, machine in machines.items():
        machine.id = name
    agents = {name: follow.Follower(machine=machine, config=CONFIG) for name, machine in machines.items()}
    bucket = CountingBucket(spaces)

    def roll_out(release: Release, attempt: int, good: Release | None) -> float:
        leader = Turns(
            reports=Reports(spaces=bucket, bucket="state", droplets=names),  # type: ignore[arg-type]
            max_unavailable=1,
            deadline=1e9,
            desired=Desired(release=release, attempt=attempt, good=good),
            write=lambda desired: bucket.put_json("releases", DESIRED, desired.document()),
        )
        began, looked = clock[0], 0
        while not leader.step():
            for number, name in enumerate(names):
                agent = agents[name]
                soon = agent.prepared and clock[0] < agent.soon_until
                if soon or (looked + number) % (follow.INTERVAL / LOOK) == 0:
                    agent.try_to_look()
                    if agent.rolled_out:
                        agents[name] = follow.Follower(machine=machines[name], config=CONFIG)
            looked, clock[0] = looked + 1, clock[0] + LOOK
        return clock[0] - began

    releases = []
    for marker in ("1", "2"):
        world.desire(1, marker=marker)
        document = Desired.parse(bucket_of(world).get_json("releases", DESIRED))
        releases.append(document.release)
    spaces.objects |= {place: body for place, body in world.spaces.objects.items() if place[1] != DESIRED}
    roll_out(releases[0], 1, None)
    spaces.counts.clear()
    return spaces.counts, roll_out(releases[1], 2, releases[0])


def bucket_of(world: World) -> Bucket:
    """What a world has published."""
    return Bucket(world.spaces)


def test_a_release_on_many_asks_for_each_as_much_as_on_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of n Droplets each said again with each turn that it waits, and all looked twice a second: n times n of both."""
    few, _ = second_release(6, tmp_path / "few", monkeypatch)
    many, seconds = second_release(24, tmp_path / "many", monkeypatch)
    phases = 10  # from fetch to done
    assert (few["reports"] <= 6 * phases, many["reports"] <= 24 * phases) == (True, True)
    assert many["read by the runner"] / 24 <= few["read by the runner"] / 6 + 1
    near, far = follow.NEAR / LOOK, (24 - follow.NEAR) / follow.INTERVAL
    preparing = 24 * 8  # what each asks for once: its document, artifact, environment, whether it is still desired
    assert many["looks"] <= (near + far) * seconds + preparing
