"""Count and draw the structure of `src/`, from its imports: `python -m tests.structure [--draw FILE]`.

A *room* of a package is a package or a module that lies in it. An arrow A → B stands for any number of
imports of B by A, those for type checkers and those inside functions among them. A room stands a floor
above all that it imports.
"""

import argparse
import ast
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"

Graph = dict[str, set[str]]


def name_of(file: Path, src: Path = SRC) -> str:
    """Return the dotted name of a module."""
    parts = file.relative_to(src).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def trees(src: Path = SRC) -> dict[str, ast.Module]:
    """Return the syntax tree of each module below `src`, by its name."""
    return {name_of(file, src): ast.parse(file.read_text()) for file in sorted(src.rglob("*.py"))}


@cache
def project() -> Graph:
    """Return, for each module of this project, the modules of the project that it imports."""
    return modules(trees())


def imports(tree: ast.AST) -> set[str]:
    """Return everything that a module imports: inside functions and for type checkers too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules(found: dict[str, ast.Module]) -> Graph:
    """Return, for each module, the modules of the project that it imports."""
    graph = {}
    for module, tree in found.items():
        known = (name if name in found else name.rpartition(".")[0] for name in imports(tree))
        graph[module] = {name for name in known if name in found and name not in (module, "sweepgrad")}
    return graph


def rooms(graph: Graph, inside: str = "sweepgrad") -> Graph:
    """Return, for each room of a package, the other rooms of that package that it imports from."""
    start = f"{inside}." if inside else ""

    def room(module: str) -> str | None:
        if inside == "sweepgrad" and not module.startswith("sweepgrad"):
            return module.partition(".")[0]  # Hydra's plugins stand beside the package
        return module.removeprefix(start).partition(".")[0] if module.startswith(start) else None

    found: Graph = defaultdict(set)
    for module, others in graph.items():
        if here := room(module):
            found[here] |= {there for other in others if (there := room(other))} - {here}
    return dict(found)


def circles(graph: Graph) -> list[list[str]]:
    """Return groups of nodes that import one another in a circle (Tarjan, 1972, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []
    for root in sorted(graph):
        if root in index:
            continue
        work = [(root, iter(sorted(graph[root])))]
        index[root] = low[root] = len(index)
        stack.append(root)
        while work:
            node, rest = work[-1]
            following = next(rest, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    at = stack.index(node)
                    if len(stack) - at > 1:
                        found.append(sorted(stack[at:]))
                    del stack[at:]
            elif following not in index:
                index[following] = low[following] = len(index)
                stack.append(following)
                work.append((following, iter(sorted(graph[following]))))
            elif following in stack:
                low[node] = min(low[node], index[following])
    return found


def floors(graph: Graph) -> dict[str, int]:
    """Return the floor of each node, from 1.

    Raises:
        CycleError: nodes import one another in a circle.
    """
    found: dict[str, int] = {}
    for node in TopologicalSorter(graph).static_order():
        found[node] = 1 + max((found[other] for other in graph[node]), default=0)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--src", type=Path, default=SRC, help="another checkout's src/")
    arguments.add_argument("--draw", type=Path, metavar="FILE", help="draw the floors into an SVG instead")
    options = arguments.parse_args()
    found = trees(options.src)
    graph = modules(found)
    if options.draw is not None:
        from tests.structure_picture import svg  # these two import this module
        from tests.test_architecture import FLOORS

        options.draw.write_text(svg(FLOORS, rooms(graph), found), encoding="utf-8")
        return
    lines = sum(len(file.read_text().splitlines()) for file in options.src.rglob("*.py"))
    flat = [file for file in (options.src / "sweepgrad").glob("*.py") if file.name != "__init__.py"]
    print(f"modules {len(found)}, of them flat in sweepgrad/ {len(flat)}; lines {lines}")
    packages = sorted({module.rpartition(".")[0] for module in graph} - {"", "sweepgrad", "hydra_plugins"})
    inner = [(f"rooms of {name}", rooms(graph, name)) for name in packages]
    for what, each in (("modules", graph), ("rooms", rooms(graph)), *inner):
        arrows = sum(map(len, each.values()))
        try:
            height = str(max(floors(each).values()))
        except CycleError:
            height = "none"
        groups = circles(each)
        print(f"{what}: {len(each)}, arrows {arrows}, floors {height}, circles {len(groups)}")
        for group in groups:
            print("  circle:", " ↔ ".join(group))


if __name__ == "__main__":
    main()
