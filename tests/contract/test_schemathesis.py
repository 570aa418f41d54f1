"""schemathesis over the whole specification, with all of its checks, as nobody, as a user and as an administrator.

CREEL_SCHEMATHESIS_EXAMPLES is how many it makes for each operation (default 6; `./test.sh --all` makes 60).
"""

import os
import pathlib
import subprocess

import pytest

from conftest import provision
from creel import STRIPE_SECRET, WHATSAPP_SECRET

EXAMPLES = os.environ.get("CREEL_SCHEMATHESIS_EXAMPLES", "6")
CONFIG = pathlib.Path(__file__).with_name("schemathesis.toml")


@pytest.mark.parametrize("name", ("anonymous", "user", "admin"))
def test_all_checks_hold(servers, tmp_path, name):
    server = servers.start("schemathesis-" + name, CREEL_SIGNUP="true", STRIPE_WEBHOOK_SECRET=STRIPE_SECRET,
                           WHATSAPP_APP_SECRET=WHATSAPP_SECRET)
    config, head = CONFIG.read_text(), ""
    if name == "user":
        # One agent fills its plan; what asks for an agent asks for this one.
        caller = server.user("user", plan="starter")
        agent = provision(server, caller, "asked")
        config = config.replace("[parameters]", f'[parameters]\n"path.userId" = "{agent}"')
        config += ('\n[[operations]]\ninclude-path-regex = "^/api/agents/.id"\nexclude-method = "DELETE"\n'
                   f'parameters = {{ "path.id" = "{agent}" }}\n')
    if name == "admin":
        caller = server.user("admin", admin=True)
    if name != "anonymous":
        head = f'headers = {{ Authorization = "{caller.headers["Authorization"]}" }}\n'
    (tmp_path / "schemathesis.toml").write_text(head + config)
    program = pathlib.Path(os.environ["CREEL_CONTRACT_PACKAGES"]) / "python" / "bin" / "schemathesis"
    done = subprocess.run([program, "--no-color", "--config-file", "schemathesis.toml", "run",
                           server.url + "/openapi.json", "--checks", "all", "--max-examples", EXAMPLES, "--seed", "1"],
                          cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
