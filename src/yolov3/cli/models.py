"""`yolov3 models`: models with a name."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of the table.")
def models(as_json: bool) -> None:
    """List the models that have a name.

    Bundled with the package, pulled, or known and not here yet.

    Example: yolov3 models
    """
    from dataclasses import asdict

    from ..zoo import known_models

    found = known_models()
    if as_json:
        print(json.dumps([{**asdict(model), "path": str(model.path)} for model in found]))
        return
    rows = [("model", "state", "MB", "where")]
    for model in found:
        where = f"get it with: yolov3 pull {model.name}" if model.state == "known" else str(model.path)
        rows.append((model.name, model.state, f"{model.size / 1e6:.1f}", where))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, state, size, where in rows:
        print(f"{name:<{widths[0]}}  {state:<{widths[1]}}  {size:>{widths[2]}}  {where}")
