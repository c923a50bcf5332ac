"""A graph as a few lines of text, to compare with what a test expects."""

from textwrap import dedent, indent
from typing import Any

from awaitly.compile.following import read
from awaitly.compile.nodes import nodes_of
from awaitly.model.graph import (
    BranchNode,
    ChildNode,
    HelperNode,
    LoopNode,
    Node,
    OpaqueNode,
    ParallelNode,
    RaceNode,
    RaiseNode,
    ReturnNode,
    StepNode,
    TryNode,
    WaitNode,
)


def outline(workflow: Any) -> str:
    """Return the body of a workflow, one line a node, what is inside it indented."""
    return _block(nodes_of(read(workflow)))


def expected(text: str) -> str:
    """Return the text of a test without its indentation."""
    return dedent(text).strip("\n") + "\n" if text.strip() else ""


def _block(nodes: tuple[Node, ...]) -> str:
    return "".join(map(_lines, nodes))


def _under(head: str, *nodes: Node) -> str:
    return f"{head}\n{indent(_block(nodes), '    ')}"


def _lines(node: Node) -> str:
    match node:
        case StepNode():
            called = node.step if node.site.startswith(f"{node.step}#") else f"{node.step} at"
            sources = "; ".join(f"{argument.name}={','.join(argument.sources)}" for argument in node.arguments)
            marks = (" attempt" if node.attempt else "") + ("" if node.awaited else " not awaited")
            return f"{called} {node.site}({sources}){marks}\n"
        case ChildNode(site=site, workflow=workflow):
            return f"child {workflow} {site}\n"
        case BranchNode(style=style, text=text, arms=arms):
            return f"{style} {text}\n" + "".join(indent(_under(f"- {arm.label}", *arm.body), "    ") for arm in arms)
        case LoopNode(style=style, text=text, body=body, orelse=orelse):
            return _under(f"{style} loop {text}", *body) + (_under("else", *orelse) if orelse else "")
        case ParallelNode(style=style, site=site, body=body):
            return _under(f"parallel {style} {site}", *body)
        case RaceNode(site=site, body=body):
            return _under(f"race {site}", *body)
        case WaitNode(style=style, site=site, body=body):
            return _under(f"wait {style} {site}", *body)
        case HelperNode(site=site, function=function, body=body, recursive=recursive):
            return _under(f"helper {function} {site}{' again' if recursive else ''}", *body)
        case TryNode(body=body, handlers=handlers, orelse=orelse, final=final):
            caught = "".join(_under(f"except {', '.join(one.catches)}", *one.body) for one in handlers)
            rest = (_under("else", *orelse) if orelse else "") + (_under("finally", *final) if final else "")
            return _under("try", *body) + caught + rest
        case ReturnNode(text=text):
            return f"return {text}".rstrip() + "\n"
        case RaiseNode(text=text):
            return f"raise {text}".rstrip() + "\n"
        case OpaqueNode(site=site, text=text, reason=reason):
            return f"opaque {site} {text}: {reason}\n"
