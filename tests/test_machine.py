"""Instruction sets, threads, fork, and what an import costs."""

import multiprocessing
import os
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pytest

import fastmlp as fm

ISAS = fm.available_isas()


# Instruction sets ---------------------------------------------------------------------------


def test_the_generic_kernels_are_always_there():
    assert ISAS[-1] == "generic"
    assert len(set(ISAS)) == len(ISAS)
    assert fm.get_isa() in ISAS


def test_the_best_is_the_default(run_python):
    program = "import fastmlp as fm; print(fm.get_isa())"
    assert run_python(program, FASTMLP_ISA=None).strip() == ISAS[0]
    assert run_python(program, FASTMLP_ISA="").strip() == ISAS[0]


def test_set_isa_and_back():
    for name in (*ISAS, *reversed(ISAS)):
        fm.set_isa(name)
        assert fm.get_isa() == name


USE = """
import numpy as np
import fastmlp as fm
net = fm.MLP([20, 33, 5])
X = np.linspace(-1, 1, 700 * 20).reshape(700, 20)
net.fit(X, np.arange(700) % 5, epochs=2)
print(fm.get_isa(), net._parameters.tobytes().hex()[:4000])
"""


def used_here():
    """Return what a fresh interpreter prints of the parameters after USE."""
    net = fm.MLP([20, 33, 5])
    X = np.linspace(-1, 1, 700 * 20).reshape(700, 20)
    net.fit(X, np.arange(700) % 5, epochs=2)
    return net._parameters.tobytes().hex()[:4000]


@pytest.mark.parametrize("name", ISAS)
def test_the_environment_chooses_the_instruction_set(name, run_python):
    printed = run_python(USE, FASTMLP_ISA=name).split()
    assert printed[0] == name
    fm.set_isa(name)
    assert printed[1] == used_here()


@pytest.mark.parametrize("name", ["avx1024", "AVX2", " generic", "generic,avx2", "é", "0"])
def test_an_unknown_instruction_set_in_the_environment(name, run_python):
    result = run_python("import fastmlp", FASTMLP_ISA=name, check=False)
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert message.startswith("ImportError: FASTMLP_ISA is")
    assert "this machine can run" in message
    assert all(isa in message for isa in ISAS)


@pytest.mark.parametrize("exchange", [None, "", "0", "7"])
def test_the_environment_says_what_an_exchange_costs(exchange, run_python):
    printed = run_python(USE, FASTMLP_EXCHANGE=exchange).split()
    assert printed[1] == used_here()


@pytest.mark.parametrize("exchange", ["8", "-1", "1.5", " 2", "22", "near"])
def test_an_exchange_in_the_environment_that_is_none(exchange, run_python):
    result = run_python("import fastmlp", FASTMLP_EXCHANGE=exchange, check=False)
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert message == (
        f"ImportError: FASTMLP_EXCHANGE is {exchange!r}: it must be a number from 0 to 7"
    )


def test_instruction_sets_differ_by_rounding_only(dtype):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(33, 300)).astype(dtype), rng.normal(size=(300, 65)).astype(dtype)
    results = []
    for name in ISAS:
        fm.set_isa(name)
        results.append(fm.ops.matmul(a, b))
    # Twice the bound of a sum of 300 rounded products.
    bound = 300 * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b))
    for other in results[1:]:
        assert (np.abs(other - results[0]) <= bound).all()


def test_what_the_package_says_of_itself(capsys):
    try:
        version("fastmlp")
    except PackageNotFoundError:
        pytest.skip("fastmlp is imported from its sources, not installed")
    config = fm.config()
    assert config["isa"] == fm.get_isa()
    assert config["available_isas"] == list(ISAS)
    assert config["threads"] == fm.get_num_threads()
    assert config["numpy"] == np.__version__
    assert config["compiler"].split()[0] in ("GCC", "Clang")
    assert fm.show_config() is None
    printed = capsys.readouterr().out
    for value in (fm.get_isa(), np.__version__, config["compiler"], str(fm.get_num_threads())):
        assert value in printed


# Threads ------------------------------------------------------------------------------------

COUNT = "import fastmlp as fm; print(fm.get_num_threads())"


def test_threads_set_and_unset():
    default = fm.get_num_threads()
    for n in (1, 2, 3, 5, np.int64(2)):
        fm.set_num_threads(n)
        assert fm.get_num_threads() == n
    fm.set_num_threads(None)
    assert fm.get_num_threads() == default


def test_default_threads_are_the_cores_at_hand(run_python):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(run_python(COUNT, OMP_NUM_THREADS=None, OMP_THREAD_LIMIT=None)) == cores


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_environment_chooses_the_threads(n, run_python):
    assert int(run_python(COUNT, OMP_NUM_THREADS=str(n))) == n
    more = "import fastmlp as fm; fm.set_num_threads(4); print(fm.get_num_threads())"
    assert int(run_python(more, OMP_NUM_THREADS=str(n))) == 4


needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="no affinity on this system"
)


@needs_affinity
def test_affinity_is_honored(run_python):
    program = f"import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n{COUNT}"
    assert int(run_python(program, OMP_NUM_THREADS=None)) == 1


IDLE_SECONDS = """
import os, time
import numpy as np
import fastmlp as fm

def used():
    tasks = os.listdir("/proc/self/task")
    own = str(os.getpid())
    stats = [open(f"/proc/self/task/{task}/schedstat").read() for task in tasks if task != own]
    return sum(int(stat.split()[0]) for stat in stats) * 1e-9

assert not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
fm.set_num_threads(2)
a = np.ones((256, 256), np.float32)
idle = 0
for _ in range(20):
    fm.ops.matmul(a, a)
    before = used()
    time.sleep(0.02)
    idle += used() - before
print(idle)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="no /proc/self/schedstat")
def test_threads_sleep_soon_after_a_call(run_python):
    # 20 times 90 us of spinning; it would be 70 ms with OpenMP's own setting.
    idle = run_python(
        IDLE_SECONDS, GOMP_SPINCOUNT=None, OMP_WAIT_POLICY=None, OPENBLAS_NUM_THREADS="1"
    )
    assert float(idle) < 0.02


def test_the_users_own_wait_policy_stays(run_python):
    program = "import os, fastmlp; print(os.environ['GOMP_SPINCOUNT'])"
    assert int(run_python(program, GOMP_SPINCOUNT="17")) == 17
    assert run_python(program, GOMP_SPINCOUNT="").strip() == ""


THREADS_RUNNING = """
import os, sys
import numpy as np
import fastmlp as fm
fm.set_num_threads(int(sys.argv[1]))
before = len(os.listdir("/proc/self/task"))
a = np.ones((20, 20), np.float32)
net = fm.MLP([20, 5])
for _ in range(10):
    fm.ops.matmul(a, a); fm.ops.sigmoid(a); net.predict(a); net.fit(a, np.arange(20) % 5, epochs=1)
small = len(os.listdir("/proc/self/task")) - before
a = np.ones((500, 500), np.float32)
fm.ops.matmul(a, a)
print(small, len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux's /proc")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_small_work_opens_no_parallel_region(n, run_python):
    small, large = map(int, run_python(THREADS_RUNNING, n).split())
    assert small == 0
    assert large == n - 1


MANY = """
import sys
import numpy as np
import fastmlp as fm
fm.set_num_threads(int(sys.argv[1]))
assert 1 <= fm.get_num_threads() <= int(sys.argv[1])
a = np.ones((400, 400), np.float32)
assert (fm.ops.matmul(a, a) == 400).all()
assert (fm.ops.matmul(a, a, transpose_b=True) == 400).all()
fm.MLP([400, 300, 10]).fit(a, np.zeros(400, int), epochs=1)
fm.MLP([400, 300, 10]).predict(np.ones((5000, 400)))
print("done")
"""


@pytest.mark.parametrize("n", [64, 5000, 2**15, 2**31, 2**70])
def test_any_number_of_threads_may_be_asked_for(n, run_python):
    assert run_python(MANY, n) == "done\n"


LIMITED = """
import numpy as np
import fastmlp as fm
from threadpoolctl import threadpool_info, threadpool_limits

def openmp():
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "openmp"]

def work():
    a = np.ones((400, 400), np.float32)
    fm.ops.matmul(a, a)
    fm.MLP([400, 300, 10]).fit(a, np.zeros(400, int), epochs=1)

assert openmp() == [4], openmp()
assert fm.get_num_threads() == 4
with threadpool_limits(1):
    assert fm.get_num_threads() == 1
    fm.set_num_threads(3)           # an explicit number is lowered by the limit ...
    assert fm.get_num_threads() == 1
    work()
    assert openmp() == [1], openmp()
assert fm.get_num_threads() == 3    # ... and holds again afterwards
work()
assert openmp() == [4], openmp()    # what others see was never changed
with threadpool_limits(2, user_api="openmp"):
    assert fm.get_num_threads() == 2
fm.set_num_threads(2)
with threadpool_limits(3):
    assert fm.get_num_threads() == 2
with threadpool_limits(8):
    assert fm.get_num_threads() == 2
    work()
fm.set_num_threads(None)
assert fm.get_num_threads() == 4
work()
assert openmp() == [4], openmp()
print("done")
"""


def test_limits_of_threadpoolctl_are_honored(run_python):
    pytest.importorskip("threadpoolctl")
    assert run_python(LIMITED, OMP_NUM_THREADS="4") == "done\n"


LIMITED_NO_FURTHER = """
import fastmlp as fm
from threadpoolctl import threadpool_limits

for limit in (2, 3):
    with threadpool_limits(limit):
        fm.set_num_threads(None)
        assert fm.get_num_threads() == limit
        fm.set_num_threads(4)   # OpenMP says what it said at import, or more: no limit is seen
        assert fm.get_num_threads() == 4
with threadpool_limits(1):
    assert fm.get_num_threads() == 1
print("done")
"""


def test_limits_that_openmp_does_not_show_leave_an_explicit_number(run_python):
    pytest.importorskip("threadpoolctl")
    assert run_python(LIMITED_NO_FURTHER, OMP_NUM_THREADS="2") == "done\n"


OMP_SETTING = """
import ctypes, re
import numpy as np
import fastmlp as fm

with open("/proc/self/maps") as maps:
    paths = {line.split()[-1] for line in maps if re.search(r"/lib(g|i|)omp[^/]*[.]so", line)}
omp = ctypes.CDLL(paths.pop())
before = omp.omp_get_max_threads()
a = np.ones((400, 400), np.float32)
for n in (1, 2, 3, None):
    fm.set_num_threads(n)
    fm.ops.matmul(a, a)
    fm.MLP([400, 300, 10]).fit(a, np.zeros(400, int), epochs=1)
    fm.MLP([400, 300, 10]).predict(a)
    assert omp.omp_get_max_threads() == before
omp.omp_set_num_threads(1)
assert fm.get_num_threads() == 1
omp.omp_set_num_threads(5)
fm.set_num_threads(2)
assert fm.get_num_threads() == 2
assert omp.omp_get_max_threads() == 5
print("done")
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc")
def test_the_setting_of_openmp_is_never_changed(run_python):
    assert run_python(OMP_SETTING) == "done\n"


AFFINITY = """
import os
import numpy as np
import fastmlp as fm

def allowed():
    return {task: os.sched_getaffinity(int(task)) for task in os.listdir("/proc/self/task")}

a = np.ones((256, 256))
for cpus in (os.sched_getaffinity(0), {min(os.sched_getaffinity(0))}):
    for task in allowed():
        os.sched_setaffinity(int(task), cpus)
    before = allowed()
    for n in (2, 3):
        fm.set_num_threads(n)
        for _ in range(20):
            fm.ops.matmul(a, a)
    after = allowed()
    same = all(before[task] == after[task] for task in before.keys() & after.keys())
    print(same, set(map(len, after.values())))
"""


@needs_affinity
def test_where_threads_may_run_stays_as_it_was(run_python):
    n_cpus = len(os.sched_getaffinity(0))
    assert run_python(AFFINITY).splitlines() == [f"True {{{n}}}" for n in (n_cpus, 1)]


# Fork ---------------------------------------------------------------------------------------

FORK = """
import os, signal, sys
import numpy as np
import fastmlp as fm

fm.set_num_threads(3)
rng = np.random.default_rng(0)
X, y = rng.normal(size=(3000, 50)), rng.integers(10, size=3000)

def work():
    net = fm.MLP([50, 128, 10])
    net.fit(X, y, epochs=2)
    p = net.predict_proba(X)
    q = fm.ops.matmul(p, p, transpose_b=True)
    return net._parameters.tobytes() + p.tobytes() + q.tobytes()

expected = work()
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(20)
    ok = fm.get_num_threads() == 1 and work() == expected
    fm.set_num_threads(3)
    ok = ok and fm.get_num_threads() == 1 and work() == expected
    grandchild = os.fork()
    if grandchild == 0:
        signal.alarm(10)
        os._exit(0 if work() == expected else 1)
    ok = ok and os.waitpid(grandchild, 0)[1] == 0
    os._exit(0 if ok else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert fm.get_num_threads() == 3 and work() == expected
print("done")
"""

FORK_DURING_A_FIT = """
import os, signal, threading
import numpy as np
import fastmlp as fm

fm.set_num_threads(3)
rng = np.random.default_rng(0)
X, y = rng.normal(size=(3000, 50)), rng.integers(10, size=3000)
stop = threading.Event()

def train():
    net = fm.MLP([50, 128, 10])
    while not stop.is_set():
        net.fit(X, y, epochs=1)

thread = threading.Thread(target=train, daemon=True)
thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        net = fm.MLP([50, 128, 10])
        net.fit(X, y, epochs=1)
        fm.ops.matmul(X, X, transpose_b=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
print("done")
"""

FORK_IN_A_CALLBACK = """
import os, signal
import numpy as np
import fastmlp as fm

fm.set_num_threads(2)
X, y = np.ones((3000, 50)), np.arange(3000) % 10
statuses = []

class Fork(fm.Callback):
    def on_epoch_end(self, net, history):
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            net.predict(X)
            fm.MLP([50, 128, 10]).fit(X, y, epochs=1)
            os._exit(0)
        statuses.append(os.waitpid(child, 0)[1])

fm.MLP([50, 128, 10]).fit(X, y, epochs=2, callbacks=[Fork()])
assert statuses == [0, 0]
print("done")
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@needs_fork
@pytest.mark.parametrize(
    "program", [FORK, FORK_DURING_A_FIT, FORK_IN_A_CALLBACK], ids=["after", "during", "callback"]
)
def test_a_forked_child_works_alone_and_never_hangs(program, run_python):
    # Python itself warns of a fork while other threads run.
    assert run_python(f"import warnings; warnings.simplefilter('ignore')\n{program}") == "done\n"


def fit_and_predict(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(2000, 50)), rng.integers(10, size=2000)
    net = fm.MLP([50, 128, 10], seed=seed)
    net.fit(X, y, epochs=1)
    return net.predict_proba(X).tobytes(), fm.get_num_threads()


POOL = """
import multiprocessing, sys
import fastmlp as fm
sys.path.insert(0, sys.argv[2])
from test_machine import fit_and_predict

if __name__ == "__main__":
    fm.set_num_threads(2)
    expected = [fit_and_predict(seed)[0] for seed in range(4)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        results = pool.map_async(fit_and_predict, range(4)).get(timeout=25)
    assert [p for p, _ in results] == expected
    if sys.argv[1] == "fork":
        assert [threads for _, threads in results] == [1] * 4
    print("done")
"""


@pytest.mark.parametrize(
    "method", sorted({"fork", "spawn"} & set(multiprocessing.get_all_start_methods()))
)
def test_pools_of_processes(method, run_python, tmp_path):
    # A spawned child imports the main module again, so it must be a file.
    path = tmp_path / "program.py"
    path.write_text(POOL)
    here = os.path.dirname(os.path.abspath(__file__))
    program = f"import runpy, sys; sys.argv[0] = {str(path)!r}\n"
    program += "import warnings; warnings.simplefilter('ignore')\n"
    program += f"runpy.run_path({str(path)!r}, run_name='__main__')"
    assert run_python(program, method, here, timeout=40) == "done\n"


# Import ---------------------------------------------------------------------------------------

IMPORTS = """
import sys
import numpy
known = {name.partition(".")[0] for name in sys.modules}
import fastmlp as fm
fm.MLP([2, 3]).fit([[1, 2]], [0], epochs=1)
fm.reference.MLP([2, 3]).fit([[1, 2]], [0], epochs=1)
new = {name.partition(".")[0] for name in sys.modules} - known - {"fastmlp"}
# Cython keeps what its modules share in modules that no file was read for.
read = {name for name in new if getattr(sys.modules[name], "__file__", None)}
print(*sorted(read - sys.stdlib_module_names))
"""


def test_import_needs_numpy_and_the_standard_library_alone(run_python):
    assert run_python(IMPORTS).split() == []


FIRST_CALLS = """
import sys
import fastmlp as fm
net = fm.MLP([2, 3])  # which needs NumPy's random numbers
before = set(sys.modules)
net.fit([[1, 2]], [0], epochs=1, validation_data=([[1, 2]], [[1, 0, 0]]))
net.predict([[1, 2]])
net.score([[1, 2]], [0])
fm.ops.softmax([[1.0, 2.0]])
print(*sorted(set(sys.modules) - before))
"""


def test_the_first_calls_import_nothing(run_python):
    """An import in the first call would be slow, and a fork meanwhile would leave its lock held."""
    assert run_python(FIRST_CALLS).split() == []


def test_import_loads_no_submodule_that_is_not_needed(run_python):
    program = "import sys, fastmlp; print(*[m for m in sys.modules if m.startswith('fastmlp.')])"
    loaded = set(run_python(program).split())
    for name in ("data", "plot", "metrics", "cli", "io", "convert", "reference", "sklearn"):
        assert not {module for module in loaded if module.startswith(f"fastmlp.{name}")}


def test_public_names():
    for name in fm.__all__:
        if name in ("plot", "__version__"):
            continue  # needs a library, or the package to be installed
        assert getattr(fm, name) is not None
    assert set(fm.__all__) <= set(dir(fm))
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        getattr(fm, "missing")  # noqa: B009 - an expression alone would look useless


MISSING = """
import sys
sys.modules["safetensors"] = None
import fastmlp as fm
net = fm.MLP([2, 3])
for call in (lambda: net.save("model"), lambda: fm.load("model")):
    try:
        call()
    except ModuleNotFoundError as error:
        print(error)
"""


def test_a_missing_library_is_asked_for(run_python):
    lines = run_python(MISSING).splitlines()
    assert len(lines) == 2
    assert all("pip install 'fastmlp[io]'" in line for line in lines)
