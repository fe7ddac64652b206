"""The breaker's rules: by example, and as a machine that is driven at random."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from compute_router.domain.breaker import Breaker, BreakerRules, BreakerState, Outcome, Permit

RULES = BreakerRules(failures=3, window_seconds=10, open_seconds=20, probe_seconds=5)


def failing(times: int, at: float = 0.0) -> Breaker:
    breaker = Breaker(RULES)
    for _ in range(times):
        breaker = breaker.recorded(at, Permit(), Outcome.SICK)
    return breaker


def test_enough_failures_open_it():
    """One fewer does not; then nothing passes until the time is over."""
    assert failing(2).state(0) is BreakerState.CLOSED

    breaker = failing(3)

    assert breaker.state(19.9) is BreakerState.OPEN
    assert breaker.admitted(19.9, "p") == (breaker, None)
    assert breaker.state(20) is BreakerState.HALF_OPEN


def test_old_failures_count_no_more():
    """Failures further apart than the window never open it."""
    breaker = failing(2).recorded(10, Permit(), Outcome.SICK)

    assert breaker.state(10) is BreakerState.CLOSED
    assert breaker.failed_at == (10,)


def test_probe_that_went_well_closes_it():
    """As if nothing had been: it takes all failures again to open it."""
    breaker, permit = failing(3).admitted(20, "p1")
    assert permit == Permit("p1")

    closed = breaker.recorded(21, permit, Outcome.WELL)

    assert closed == Breaker(RULES, probe_until=25)
    assert closed.recorded(21, Permit(), Outcome.SICK).state(21) is BreakerState.CLOSED


def test_probe_that_failed_opens_it_again():
    """For the whole time."""
    breaker, permit = failing(3).admitted(20, "p1")

    opened = breaker.recorded(21, permit, Outcome.SICK)

    assert opened.state(40.9) is BreakerState.OPEN
    assert opened.admitted(41, "p2")[1] == Permit("p2")


def test_probe_that_told_nothing_lets_the_next_one_try():
    """Its caller left: nothing is known, and nobody has to wait for it."""
    breaker, permit = failing(3).admitted(20, "p1")

    breaker = breaker.recorded(20, permit, Outcome.UNKNOWN)

    assert breaker.admitted(20, "p2")[1] == Permit("p2")


def test_word_of_an_older_call_changes_nothing():
    """Only the probe that is out decides; not a call from before, nor a probe given up."""
    breaker, _ = failing(3).admitted(20, "p1")
    breaker, permit = breaker.admitted(25, "p2")
    assert permit == Permit("p2")

    for stranger in (Permit(), Permit("p1")):
        for outcome in Outcome:
            assert breaker.recorded(25, stranger, outcome) == breaker


def test_wish_to_be_left_alone_is_no_failure():
    """It stays closed, lets nothing through before the time; a shorter wish takes nothing back."""
    breaker = Breaker(RULES).waiting(0, 7).waiting(1, 2)

    assert breaker.state(1) is BreakerState.CLOSED
    assert breaker.admitted(6.9, "p")[1] is None
    assert breaker.admitted(7, "p")[1] == Permit()


# It opens soon and tries soon, so that a random walk gets everywhere.
LIVELY = BreakerRules(failures=2, window_seconds=10, open_seconds=3, probe_seconds=4)


class BreakerMachine(RuleBasedStateMachine):
    """Calls come, end well or not, and are forgotten, in any order, with time between them.

    Beside the breaker stands what it must keep: a plain record of everything that happened.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker(LIVELY)
        self.out: list[Permit] = []
        self.failures: list[float] = []
        self.probes = 0
        self.probe: tuple[Permit, float] | None = None
        self.opened_at: float | None = None

    @rule(seconds=st.sampled_from([0.5, 1, 2, 5]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def call(self):
        before = self.breaker.state(self.now)
        self.breaker, permit = self.breaker.admitted(self.now, f"p{self.probes}")
        if before is BreakerState.OPEN:
            assert permit is None
        if before is BreakerState.CLOSED:
            assert permit == Permit()
        if before is BreakerState.HALF_OPEN:
            is_out = self.probe is not None and self.now < self.probe[1]
            assert (permit is None) is is_out, "one probe at a time, and always one"
            if permit is not None:
                self.probe = (permit, self.now + LIVELY.probe_seconds)
                self.probes += 1
        if permit is not None:
            self.out.append(permit)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from([*Outcome, Outcome.SICK]))
    def call_ends(self, data, outcome):
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        before = self.breaker.state(self.now)
        self.breaker = self.breaker.recorded(self.now, permit, outcome)
        after = self.breaker.state(self.now)
        decides = self.probe is not None and permit == self.probe[0]
        if before is BreakerState.CLOSED:
            self._count(outcome, after)
        elif not decides or outcome is Outcome.UNKNOWN:
            assert after is before
        elif outcome is Outcome.WELL:
            assert after is BreakerState.CLOSED
        else:
            assert after is BreakerState.OPEN
            self.opened_at = self.now
        if decides:
            self.probe = None

    def _count(self, outcome, after):
        if outcome is Outcome.SICK:
            self.failures.append(self.now)
        recent = [at for at in self.failures if at > self.now - LIVELY.window_seconds]
        if outcome is Outcome.SICK and len(recent) >= LIVELY.failures:
            assert after is BreakerState.OPEN
            self.opened_at, self.failures = self.now, []
        else:
            assert after is BreakerState.CLOSED

    @invariant()
    def it_opens_again_by_time_alone(self):
        state = self.breaker.state(self.now)
        if state is BreakerState.CLOSED:
            assert len(self.breaker.failed_at) < LIVELY.failures
        else:
            is_over = self.now >= self.opened_at + LIVELY.open_seconds
            assert (state is BreakerState.HALF_OPEN) is is_over


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
