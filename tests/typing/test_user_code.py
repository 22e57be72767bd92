"""User code passes a strict type checker, with the same inference on both ORMs."""

from __future__ import annotations

from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api")

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "python"


@pytest.mark.parametrize("package", ["sqlalchemy", "rustalchemy"])
@pytest.mark.parametrize(
    "source", ["asyncio_user.py", "declarative_user.py", "ext_user.py", "query_user.py", "session_user.py"]
)
def test_strict(package: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_code = tmp_path / source
    user_code.write_text((HERE / source).read_text().replace("rustalchemy.", f"{package}."))
    monkeypatch.setenv("MYPYPATH", str(PACKAGE))
    arguments = [
        "--strict",
        "--follow-imports=silent",
        f"--cache-dir={tmp_path / 'cache'}",
        "--config-file=",
        str(user_code),
    ]
    output, errors, status = api.run(arguments)
    assert (status, errors) == (0, ""), output
