#!/usr/bin/env python3
"""Shows that the simulation can fail: bugs put into the reconciler one at a time, each of which it must find.

    tests/sim/mutations.py BUILD_FOLDER [HISTORIES]

Copies of the sources are altered, never the sources; creel_sim must have been built in BUILD_FOLDER. A mutation whose
text is not found exactly once is an error, so that the table cannot rot; so is one that is not caught within HISTORIES
(20,000). Prints which invariant caught each, by which seed, and what the shrunk history consists of."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# name, file of reconciler/, text, what it becomes
MUTATIONS = [
    ("a deleted agent is treated as a running one", "plan.cpp",
     "desired.state == DesiredState::deleted) return plan_deleted(",
     "desired.state == DesiredState::deleted && desired.purge) return plan_deleted("),
    ("a second container is made beside the first", "plan.cpp",
     "  std::vector<Action> actions;\n  if (observed.workload_presence == Presence::present)\n    actions.push_back(\n",
     "  std::vector<Action> actions;\n  if (false)\n    actions.push_back(\n"),
    ("containers of others are taken for ours", "plan.cpp",
     "observed.workload_presence == Presence::present && !observed.workload.ours)\n    return wait(",
     "observed.workload_presence == Presence::present && false)\n    return wait("),
    ("no answer is taken for absent", "plan.cpp",
     "  if (observed.workload_presence == Presence::unknown)\n    return wait(\"the engine",
     "  if (false)\n    return wait(\"the engine"),
    ("the retention is read the wrong way round", "plan.cpp",
     "if (!desired.purge && now < until)", "if (!desired.purge && now > until)"),
    ("an agent with an egress list does not wait for the fence", "plan.cpp",
     "if (!desired.spec.egress || !observed.fence ||", "if (true || !observed.fence ||"),
    ("the memory is cleared under a running process", "plan.cpp",
     "  Observed then = observed;\n  if (has_process(observed)) {", "  Observed then = observed;\n  if (false) {"),
    ("a missing volume is always a forgotten memory", "plan.cpp",
     "Presence::absent && !may_go_back)", "Presence::absent)"),
    ("a delivery is not known to be uncertain", "plan.cpp",
     "    history.files_hash = desired.files_hash;\n    history.files_delivered_to.clear();\n    // And whether",
     "    // And whether"),
    ("only making a container gives the volume to the agent", "plan.cpp",
     "desired.spec.state_dir, desired.spec.user, desired.files}", "desired.spec.state_dir, \"\", desired.files}"),
    ("a process is thought to have read what was delivered", "plan.cpp",
     "if (history.restart_files_hash != desired.restart_files_hash) history.restart_files_hash.clear();",
     "history.restart_files_hash = desired.restart_files_hash;"),
    ("an unproven image is used outside its trial", "plan.cpp",
     "const DesiredAgent wish = released(desired, history.release);",
     "const DesiredAgent wish = released(desired, history.update.to);"),
    ("readiness is asked for without a pause", "plan.cpp", "        policy.starting_poll);", "        milliseconds{1});"),
    ("an update does not copy the volume", "plan_update.cpp",
     "  actions.push_back({op::BackUpStorage{desired.id,",
     "  if (!present) actions.push_back({op::BackUpStorage{desired.id,"),
    ("a roll-back restores nothing", "plan_update.cpp",
     "  if (history.update.copied)\n    actions", "  if (!history.update.copied)\n    actions"),
    ("an update that does not get ready is committed", "update.cpp",
     "workload.state == ContainerState::running && observed.ready == true)",
     "workload.state == ContainerState::running)"),
    ("the step of an update is kept in memory only", "reconciler.cpp",
     "!std::exchange(step_kept, true) || ", ""),
    ("nobody looks at the lease after a write", "reconciler.cpp",
     "      if (stop.stop_requested() || deps_.term() != term) return {};\n    }", "    }"),
    ("a restart is not announced", "reconciler.cpp",
     "std::holds_alternative<op::RestartWorkload>(operation) || std::holds_alternative<op::BackUpStorage>(operation);\n}\n\n// Must",
     "std::holds_alternative<op::BackUpStorage>(operation);\n}\n\n// Must"),
    ("what an agent prints is shown as it is", "telling_line.cpp",
     "secrets::redact(line->text, secrets)", "line->text"),
    ("an agent that was not asked is ready", "status.cpp",
     "if (observed.ready == true) return {Phase::ready", "if (observed.ready != false) return {Phase::ready"),
    ("what waits is called settled", "status.cpp", "const bool waits = !next.waiting_for.empty() &&",
     "const bool waits = false &&"),
    ("an old address is kept", "status.cpp", "  status.address.clear();\n", ""),
]

KINDS = {}  # of steps, as creel_sim counts them


def read_kinds(text):
    for kind in ("wish", "world", "call", "statement", "death", "leader"):
        found = re.search(rf"^{kind} \d+: (.*)$", text, re.M)
        for name in re.findall(r"([a-z-]+) \d+", found.group(1) if found else ""):
            KINDS[name] = kind


class Builder:
    def __init__(self, build, scratch):
        self.build = build
        self.scratch = scratch
        self.compiles = {}
        for entry in json.loads((build / "compile_commands.json").read_text()):
            if "creel_sim.dir" in entry["command"]:
                self.compiles[entry["file"]] = entry["command"]
        commands = subprocess.run(["ninja", "-C", build, "-t", "commands", "creel_sim"], capture_output=True, text=True,
                                  check=True).stdout.splitlines()
        self.link = next(line for line in reversed(commands) if " -o creel_sim " in line)

    def run(self, command):
        done = subprocess.run(command, shell=True, cwd=self.build, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"mutations.py: does not build\n{done.stdout}{done.stderr}")

    def mutated(self, name, old, new):
        source = ROOT / "reconciler" / name
        text = source.read_text()
        if text.count(old) != 1:
            sys.exit(f"mutations.py: in {source} this is there {text.count(old)} times, not once:\n{old}\n"
                     "  remedy: make the mutation fit the source again")
        copy = self.scratch / name
        copy.write_text(text.replace(old, new))
        command = self.compiles[str(source)]
        object_file = re.search(r" -o (\S+)", command).group(1)
        altered = self.scratch / "mutated.o"
        self.run(command.replace(f"-c {source}", f"-c {copy} -Wno-error").replace(object_file, str(altered)))
        program = self.scratch / "creel_sim"
        self.run(self.link.replace(object_file, str(altered)).replace(" -o creel_sim ", f" -o {program} "))
        return program


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    histories = sys.argv[2] if len(sys.argv) > 2 else "20000"
    missed = []
    print("| bug | caught by | seed | steps | wish | world | call | statement | death | leader |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        builder = Builder(build, pathlib.Path(folder))
        for title, name, old, new in MUTATIONS:
            program = builder.mutated(name, old, new)
            out = subprocess.run([str(program), "--histories", histories], capture_output=True, text=True).stdout
            read_kinds(out)
            failed = re.search(r"^FAILED --seed (\d+)  ([a-z-]+):", out, re.M)
            if not failed:
                missed.append(title)
                print(f"| {title} | NOTHING | | | | | | | | |", flush=True)
                continue
            steps = re.findall(r"^  \+\d+ ms  ([a-z-]+)", out, re.M)
            heat = [sum(KINDS.get(step) == kind for step in steps)
                    for kind in ("wish", "world", "call", "statement", "death", "leader")]
            print(f"| {title} | `{failed.group(2)}` | {failed.group(1)} | {len(steps)} | "
                  + " | ".join(str(n) if n else "" for n in heat) + " |", flush=True)
    print(f"{len(MUTATIONS) - len(missed)} of {len(MUTATIONS)} bugs were found")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
