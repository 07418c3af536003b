"""The rules of the source tree: who may know what, and who may call whom."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CSRC, PACKAGE = ROOT / "csrc", ROOT / "src" / "fastmlp"

if not (CSRC.is_dir() and PACKAGE.is_dir()):
    pytest.skip("the source tree is not beside these tests", allow_module_level=True)

LAYERS = ("include", "runtime", "kernels", "ops", "network", "python")
C_SOURCES = sorted([*CSRC.rglob("*.c"), *CSRC.rglob("*.h")])
BUILD_FILES = [ROOT / "CMakeLists.txt", *sorted((ROOT / "cmake").glob("*.cmake"))]
PYTHON_SOURCES = sorted(PACKAGE.rglob("*.py"))


def layer_of(path):
    return path.relative_to(CSRC).parts[0]


def without_comments(text):
    """Return C code without its comments and the contents of its strings."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"'
    return re.sub(pattern, lambda match: '""' if match[0][0] == '"' else " ", text, flags=re.S)


def code(path):
    return without_comments(path.read_text(encoding="utf-8"))


def found(pattern, paths, read=code):
    """Return where a pattern is met, as file:line: text."""
    expression = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(read(path).splitlines(), start=1)
        if expression.search(line)
    ]


def raw(path):
    return path.read_text(encoding="utf-8")


# C ------------------------------------------------------------------------------------------


def test_every_c_file_lies_in_a_layer():
    assert {layer_of(path) for path in C_SOURCES} == set(LAYERS)


def test_openmp_is_used_in_ops_and_network_and_asked_in_runtime():
    elsewhere = [p for p in C_SOURCES if layer_of(p) not in ("ops", "network", "runtime")]
    assert found(r"\bomp\b|\bomp_|omp\.h", elsewhere, raw) == []
    # The run-time layer asks for settings; it opens no region.
    runtime = [p for p in C_SOURCES if layer_of(p) == "runtime"]
    assert found(r"#\s*pragma\s+omp|_Pragma", runtime, raw) == []


def test_every_parallel_region_names_its_threads():
    for line in found(r"#\s*pragma\s+omp\s+.*parallel", C_SOURCES, raw):
        assert "num_threads(" in line


def test_instruction_sets_are_named_in_runtime_and_kernels_only():
    names = r"(?i)(?<![a-z])(avx\w*|sse\d?\w*|neon\w*|fma|sve\d?|immintrin|_mm\d*_\w+|__m\d+\w*)\b"
    elsewhere = [p for p in C_SOURCES if layer_of(p) not in ("runtime", "kernels")]
    assert found(names, elsewhere) == []
    above = [*PYTHON_SOURCES, *PACKAGE.glob("*.py*")]
    texts = {path for path in above if path.suffix in (".py", ".pyx", ".pxd", ".pyi")}
    assert found(r"(?i)\b(avx\w*|sse\d\w*|neon)\b", sorted(texts), raw) == []


def test_flags_of_instruction_sets_lie_in_one_place():
    others = [path for path in BUILD_FILES if path.name != "isa.cmake"]
    assert found(r"(?i)avx|sse\d|-mfma|-msse|neon", others, raw) == []
    # No fixed name of an instruction set in the dispatcher either: it goes by the list.
    runtime = [p for p in C_SOURCES if layer_of(p) == "runtime"]
    assert found(r"(?i)\b(avx\w*|sse\d\w*|neon)\b", runtime) == []


def test_python_is_unknown_to_the_core():
    core = [p for p in C_SOURCES if layer_of(p) != "python"]
    assert found(r"Python\.h|\bPy[A-Z_]\w*|numpy", core) == []


INCLUDES = {
    # What a file of each layer may include, besides the standard library.
    "include": set(),
    "kernels": {"include", "kernels"},
    "runtime": {"include", "runtime", "kernels"},
    "ops": {"include", "runtime", "kernels", "ops"},
    "network": {"include", "runtime", "kernels", "ops", "network"},
    # For other extensions: nothing of ours includes it.
    "python": {"include"},
}
GENERATED = {"isa_list.h": "runtime"}


def test_includes_go_in_one_direction():
    headers = {path.name: layer_of(path) for path in CSRC.rglob("*.h")}
    assert len(headers) == len(list(CSRC.rglob("*.h")))
    for path in C_SOURCES:
        layer = layer_of(path)
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', raw(path), flags=re.M):
            if name in GENERATED:
                assert layer == GENERATED[name], path
            else:
                assert headers[name] in INCLUDES[layer], f"{path.relative_to(ROOT)}: {name}"


def test_kernels_are_leaves():
    kernels = [p for p in C_SOURCES if layer_of(p) == "kernels"]
    assert found(r"\b(m|c|re)alloc\s*\(|\baligned_alloc|\bfree\s*\(|\bpthread_", kernels) == []


def test_the_core_never_prints_aborts_or_exits():
    calls = r"\b(abort|exit|_exit|_Exit|quick_exit|assert|v?f?printf|puts|perror|fputs|fwrite)\s*\("
    assert found(calls, C_SOURCES) == []
    assert found(r"\b(stderr|stdout|assert\.h)\b", C_SOURCES) == []


def test_a_training_step_allocates_nothing():
    files = [
        CSRC / "network" / name for name in ("step.c", "epoch.c", "dense_layer.c", "regularize.c")
    ]
    assert found(r"\b(m|c|re)alloc\s*\(|\baligned_alloc", files) == []


def test_what_is_never_done():
    everywhere = [*C_SOURCES, *BUILD_FILES, *PACKAGE.glob("*.pyx"), ROOT / "pyproject.toml"]
    never = r"omp_set_|-ffast-math|-Ofast|-march=|-mcpu=native|-funsafe-math|fast_math|-freciprocal"
    assert found(never, everywhere, raw) == []


def declared_in_header():
    return set(re.findall(r"\b(?:fm|FM)_\w+", code(CSRC / "include" / "fastmlp.h")))


def test_the_bridge_calls_only_what_the_header_declares():
    names = r"\b(?:fm|FM)_\w+"
    declared = declared_in_header()
    for name in ("_core.pxd", "_core.pyx"):
        text = re.sub(r"#[^\n]*", "", raw(PACKAGE / name))
        assert set(re.findall(names, text)) <= declared
    externs = re.findall(r'cdef extern from "([^"]+)"', raw(PACKAGE / "_core.pxd"))
    assert externs == ["fastmlp.h"]
    names_of_others = re.findall(names, re.sub(r"#[^\n]*", "", raw(PACKAGE / "c_api.pxd")))
    assert set(names_of_others) - {"fm_get_model"} <= declared
    assert "extern" not in raw(PACKAGE / "_core.pyx")


def prototypes(text):
    text = re.sub(r"\s+", " ", text)
    found = re.findall(r"([\w ]+\*? ?)\b(fm_\w+)\(([^()]*)\)", text)
    return {
        name: re.sub(r"\bas_\b", "as", arguments).replace("void", "").strip()
        if arguments.strip() in ("", "void")
        else re.sub(r"\bas_\b", "as", re.sub(r"\s+", " ", arguments)).strip()
        for _, name, arguments in found
    }


def prototypes_in(name):
    return prototypes(re.sub(r"#[^\n]*", "", raw(PACKAGE / name)))


def test_the_bridge_declares_functions_as_the_header_does():
    header = prototypes(code(CSRC / "include" / "fastmlp.h"))
    bridge = prototypes_in("_core.pxd")
    assert len(bridge) > 20
    for name, arguments in bridge.items():
        assert header[name] == arguments, name


def test_other_extensions_are_offered_one_list_of_functions():
    header = code(CSRC / "include" / "fastmlp.h")
    declared, offered = prototypes(header), prototypes_in("c_api.pxd")
    # Takes a Python object, so it is in the header for Python.
    del offered["fm_get_model"]
    for name, arguments in offered.items():
        assert declared[name] == arguments, name
    table = re.findall(r"__typeof__\((fm_\w+)\) \*(\w+);", header)
    members = {f"fm_{member}" for _, member in table}
    assert members == {name for name, _ in table} == set(offered)
    pattern = r"#define (fm_\w+) \(\*fm_imported->(\w+)\)"
    macros = re.findall(pattern, code(CSRC / "python" / "fastmlp_python.h"))
    assert {(name, f"fm_{member}") for name, member in macros} == {(n, n) for n in members}


def test_every_function_of_the_header_is_defined_once():
    bodies = "\n".join(code(path) for path in C_SOURCES if path.suffix == ".c")
    header = code(CSRC / "include" / "fastmlp.h")
    functions = set(re.findall(r"\b(fm_\w+)\([^;]*\);", re.sub(r"typedef[^;]*;", "", header)))
    assert len(functions) > 20
    for name in functions:
        definitions = re.findall(rf"^\w[\w \*]*\b{name}\([^;{{]*\)\s*\{{", bodies, flags=re.M)
        assert len(definitions) == 1, name


# Python ---------------------------------------------------------------------------------------


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path, lazy=True):
    """Return what a module imports: own modules without "fastmlp.", others by their first name.

    Without `lazy`, only what is imported together with the module counts.
    """
    package = path.relative_to(PACKAGE).parent.parts
    tree = ast.parse(raw(path))
    inner = set()
    for node in ast.walk(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        is_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if is_typing or (is_function and not lazy):
            inner.update(map(id, ast.walk(node)))
    own, others = set(), set()
    for node in ast.walk(tree):
        if id(node) in inner:
            continue
        if isinstance(node, ast.Import):
            others.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            others.add(node.module.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            base = (*base, *node.module.split(".")) if node.module else base
            names = [".".join((*base, alias.name)) for alias in node.names]
            # "from . import checks" names a module, "from .checks import x" what is in it.
            own.update(name if is_module(name) else ".".join(base) for name in names)
    return own, others


def is_module(name):
    path = PACKAGE.joinpath(*name.split("."))
    return any(
        candidate.exists()
        for candidate in (path.with_suffix(".py"), path / "__init__.py", path.with_suffix(".pyx"))
    )


# From the bottom up: a module imports, with itself, only what stands in an earlier line or its own.
DIRECTION = [
    {"_core", "ahead", "errors", "callbacks", "mapped", "sparse", "tables"},
    {"checks", "history", "progress", "reporting"},
    {
        "early_stopping",
        "initializers",
        "losses",
        "memory",
        "optimizers",
        "regularization",
        "schedules",
        "scores",
        "summary",
        "reference.loss_parts",
    },
    {"checkpoints", "eval_metrics", "op_arguments", "samples", "sources"},
    {"loss_ops", "measuring", "reference.class_losses", "reference.number_losses"},
    {"feeding", "ops", "reference.ops", "machine"},
    {"fitting"},
    {"base"},
    {"reference.steps"},
    {"mlp", "reference.mlp", "reference", "metrics"},
    {"io", "io.atomic", "io.fit_state", "io.model_file"},
    {
        "convert",
        "convert.common",
        "convert.onnx_model",
        "convert.pytorch",
        "convert.scikit_learn",
    },
]


def rank(name):
    name = "losses" if name.startswith("losses.") else name
    for number, names in enumerate(DIRECTION):
        if name in names:
            return number
    return len(DIRECTION)


def test_imports_go_in_one_direction():
    for path in PYTHON_SOURCES:
        name = module_name(path)
        if name == "":
            continue
        own, _ = imports_of(path, lazy=False)
        for other in own - {name, name.rpartition(".")[0]}:
            family = name.partition(".")[0] == other.partition(".")[0]
            assert rank(other) < rank(name) or family or rank(name) == len(DIRECTION), (
                f"{name} imports {other}"
            )


def test_each_layer_knows_those_below_it_only():
    forbidden = {
        "checks": {"_core", "ops", "mlp", "base", "reference"},
        "op_arguments": {"_core", "ops", "mlp", "base", "reference"},
        "checkpoints": {"_core", "ops", "mlp", "base", "reference", "machine"},
        "base": {"_core", "ops", "mlp", "reference", "machine"},
        "losses": {"_core", "ops", "mlp", "base", "reference"},
        "optimizers": {"_core", "ops", "mlp", "base", "reference"},
        "loss_ops": {"ops", "mlp", "base", "reference", "io", "data", "machine"},
        "ops": {"mlp", "base", "reference", "io", "data", "machine"},
        "reference.class_losses": {"_core", "loss_ops", "ops", "mlp", "machine"},
        "reference.number_losses": {"_core", "loss_ops", "ops", "mlp", "machine"},
        "reference.ops": {"_core", "loss_ops", "ops", "mlp", "machine"},
        "reference.mlp": {"_core", "ops", "mlp", "machine"},
        "reference.steps": {"_core", "ops", "mlp", "machine"},
        "reference": {"_core", "ops", "mlp", "machine"},
        "mlp": {"reference", "data", "cli", "plot", "sklearn"},
        "io.atomic": {"_core", "mlp", "ops"},
        "io.fit_state": {"_core", "mlp", "ops", "reference", "cli"},
        "io.model_file": {"_core", "ops", "reference", "cli"},
        "convert": {"_core", "ops", "reference", "cli", "data"},
    }
    for path in PYTHON_SOURCES:
        own, _ = imports_of(path)
        name = module_name(path)
        name = "convert" if name.startswith("convert.") else name
        assert not own & forbidden.get(name, set()), name


def test_only_the_engine_calls_the_core():
    users = {module_name(p) for p in PYTHON_SOURCES if "_core" in imports_of(p)[0]}
    assert users <= {"_openmp", "loss_ops", "ops", "mlp", "machine"}


def test_nothing_below_imports_the_tools_above():
    tools = {"cli", "sklearn", "plot", "study"}
    for path in PYTHON_SOURCES:
        name = module_name(path)
        if name.partition(".")[0] in tools | {"__main__"}:
            continue
        own, _ = imports_of(path, lazy=False)
        assert not {other.partition(".")[0] for other in own} & tools, name


def test_the_core_of_the_package_needs_numpy_alone():
    import sys

    standard = sys.stdlib_module_names
    for path in PYTHON_SOURCES:
        name = module_name(path)
        if name.partition(".")[0] in ("cli", "plot", "sklearn", "__main__"):
            continue
        _, others = imports_of(path, lazy=False)
        assert others - standard <= {"numpy"}, name


def test_type_checkers_see_no_attributes_that_are_made_up():
    """They would take a misspelt name of the module for one of those imported on demand."""
    for path in PYTHON_SOURCES:
        functions = [
            node for node in ast.parse(raw(path)).body if isinstance(node, ast.FunctionDef)
        ]
        assert "__getattr__" not in {function.name for function in functions}, path


def test_the_stub_of_the_bridge_names_what_there_is():
    from fastmlp import _core

    def names(body):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.AnnAssign):
                yield node.target.id

    stub = ast.parse(raw(PACKAGE / "_core.pyi"))
    declared = set(names(stub.body))
    assert declared <= vars(_core).keys()
    used = re.findall(r"\b_core\.(?!__)(\w+)", "\n".join(map(raw, PYTHON_SOURCES)))
    assert set(used) <= declared
    for node in stub.body:
        if isinstance(node, ast.ClassDef):
            methods = {name for name in names(node.body) if not name.startswith("_")}
            actual = {name for name in vars(getattr(_core, node.name)) if not name.startswith("_")}
            assert methods == actual
