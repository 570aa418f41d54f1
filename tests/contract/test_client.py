"""A TypeScript client generated from the specification: it compiles, its types say something, and it does the main job."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import FILE, SPEC

CLIENT = pathlib.Path(__file__).with_name("client")
PACKAGES = pathlib.Path(os.environ["CREEL_CONTRACT_PACKAGES"])


def run(folder, *command, **environment):
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-8000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("client")
    for name in ("client.ts", "tsconfig.json", "package.json"):
        shutil.copy(CLIENT / name, folder)
    (folder / "node_modules").symlink_to(PACKAGES / "node_modules")
    shutil.copy(FILE, folder / "openapi.yaml")
    run(folder, "node_modules/.bin/openapi-typescript", "openapi.yaml", "-o", "schema.d.ts", "--default-non-nullable=false")
    return folder


def test_the_generated_types_say_what_each_thing_is(built):
    types = (built / "schema.d.ts").read_text()
    assert not re.findall(r".*\bany\b(?=[;\[\]>|]).*", types)
    # Free-form objects are maps of unknown values; nothing else may be unknown, and no object may be empty.
    assert not [line for line in re.findall(r".*\bunknown;", types) if not re.search(r"\[(key|name): string\]: unknown;", line)]
    empty = [line for line in re.findall(r".*Record<string, never>;", types) if not re.match(r"export type|    headers", line)]
    assert not empty, empty
    for name in SPEC.document["components"]["schemas"]:
        assert re.search(rf"^        {name}:", types, re.M), name


def test_a_program_that_uses_it_compiles(built):
    run(built, "node_modules/.bin/tsc", "-p", ".")


def test_it_provisions_reads_chats_stops_and_deletes(built, servers):
    server = servers.start("client")
    key = server.user("client", plan="starter").headers["Authorization"].split()[1]
    run(built, "node_modules/.bin/tsc", "-p", ".")
    assert "client: done" in run(built, "node", "out/client.js", CREEL_URL=server.url, CREEL_API_KEY=key)
