"""A published npm package, installed in a folder, and what it makes of the steps of client.mjs."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.interop.languages import JavaScript, execute


class Package:
    """`futu-api` or `moomoo-api`, with the preload of examples/javascript; raises `Missing` where it cannot be had."""

    def __init__(self, brand: str, folder: Path) -> None:
        self.brand, self.folder = brand, folder
        language = JavaScript(brand)
        self.tools = language.tools()
        language.build(folder)
        shutil.copy(Path(__file__).parent / "client.mjs", folder)

    def run(self, port: int, *steps: list[Any], key: str = "", ca: Path | None = None) -> list[Any]:
        """What the steps of client.mjs give."""
        asked = {"brand": self.brand, "port": port, "ssl": ca is not None, "key": key, "steps": steps}
        trust = {} if ca is None else {"NODE_EXTRA_CA_CERTS": str(ca)}
        return list(json.loads(self.node("client.mjs", json.dumps(asked), environ=trust).splitlines()[-1]))

    def node(self, *arguments: str, environ: Mapping[str, str]) -> str:
        """What a program prints under the preload."""
        setting = [f"{name}={value}" for name, value in environ.items()]
        done = execute(["env", *setting, "node", "--import", "./opend-si.mjs", *arguments], cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
