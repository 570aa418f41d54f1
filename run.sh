#!/usr/bin/env bash
# Sets everything up on a Debian 12 machine and runs Creel's main job: an agent provisioned over the API is kept running.
#
#   ./run.sh                         # with the OpenClaw agent (first time: a few minutes, its image is built offline)
#   ./run.sh --template reference    # with the small reference agent: seconds
#
# Everything Creel can be told by environment (CREEL_*, DATABASE_URL, DOCKER_HOST, …) is passed on. Running it again finds
# everything as it was. Ctrl-C stops the controller; agents run on, data is safe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. scripts/engine-api.sh

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
fail() { printf 'run.sh: %s\n  remedy: %s\n' "$1" "$2" >&2; exit 1; }

template=${CREEL_DEFAULT_TEMPLATE:-openclaw}
while (($#)); do
  case $1 in
    --template) (($# >= 2)) || fail "--template needs a name" "./run.sh --template reference"; template=$2; shift 2 ;;
    --template=*) template=${1#*=}; shift ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown argument '$1'" "./run.sh [--template NAME]" ;;
  esac
done
folder=
for candidate in ${CREEL_TEMPLATES:+"$CREEL_TEMPLATES"} templates; do
  if [[ -f $candidate/$template/template.yaml ]]; then folder=$candidate/$template; break; fi
done
[[ -n $folder ]] || fail "there is no template '$template'" "use one of: $(cd templates && ls -d */ | tr -d '/\n' | sed 's/reference/reference /')"

state=${CREEL_STATE_DIR:-}
if [[ -z $state ]]; then
  if ((EUID == 0)); then state=/var/lib/creel; else state=${XDG_STATE_HOME:-$HOME/.local/state}/creel; fi
fi
export CREEL_STATE_DIR=$state CREEL_DEFAULT_TEMPLATE=$template

step "packages"
scripts/install-packages.sh build run
say "all there"

step "build (release)"
cmake --preset release >/dev/null || fail "cmake could not configure the build" "see the lines above"
cmake --build --preset release
creel=build/release/creel

mkdir -p "$state" 2>/dev/null || fail "cannot create $state" "set CREEL_STATE_DIR to a folder you may write to"

step "Docker engine"
if engine_answers; then
  say "using the engine at ${DOCKER_HOST:-unix:///var/run/docker.sock}"
else
  say "no engine answers at ${DOCKER_HOST:-unix:///var/run/docker.sock} ($engine_error)"
  say "starting a private one in $state/engine; it stays when this script ends (scripts/engine.sh stop $state/engine)"
  DOCKER_HOST=$(env -u DOCKER_HOST scripts/engine.sh start "$state/engine")
  export DOCKER_HOST
fi

step "agent image"
image=$(sed -n 's/^image: *"\{0,1\}\([^" #]*\).*/\1/p' "$folder/template.yaml" | head -n 1)
if [[ $template == openclaw && -n ${OPENCLAW_IMAGE:-} ]]; then image=$OPENCLAW_IMAGE; fi
[[ -n $image ]] || fail "$folder/template.yaml names no image" "add the line 'image: NAME:TAG'"
engine_connect
image_present() { engine_request GET "/images/$(url_encode "$image")/json" --max-time 30 --output /dev/null 2>/dev/null; }
pull_image() {  # the engine reports a failed pull inside a 200 stream
  local answer
  answer=$(engine_request POST "/images/create?fromImage=$(url_encode "$image")" --max-time "${CREEL_PULL_SECONDS:-600}" 2>&1) &&
    [[ $answer != *'"error"'* ]] && image_present
}
# A template built from this repository is rebuilt when its sources changed; its script knows. Others are pulled first.
if [[ $folder == templates/reference ]]; then
  "$folder/build-image.sh"
elif image_present; then
  say "$image is there"
else
  say "pulling $image"
  if pull_image; then
    say "pulled"
  elif [[ -x $folder/build-image.sh ]]; then
    say "it cannot be pulled; building it offline with $folder/build-image.sh"
    "$folder/build-image.sh" "$image"
  else
    fail "image $image is not on the engine and cannot be pulled" "docker pull or docker import it, then run this again"
  fi
fi

step "fence"
case ${CREEL_FENCE:-on} in
  off | false | no | 0) say "switched off (CREEL_FENCE)" ;;
  *) templates/egress/build-image.sh && say "its image is there" ||
    say "agents will run without it, and each says so: condition Fenced" ;;
esac

step "creel serve"
config() { "$creel" config --json | tr -d '\n' | sed -n 's/.*"'"$1"'": *{[^}]*"value": *"\([^"]*\)".*/\1/p'; }
listen=$(config listen)
url=${CREEL_URL:-http://$listen}
ready() { curl --silent --fail --noproxy '*' --max-time 5 "$url/readyz" >/dev/null 2>&1; }
# Else the answer of that one would be taken for an answer of the one started here.
if ready; then fail "a controller answers at $url already" "stop that one, or set CREEL_LISTEN to another address"; fi
# A session of its own: Ctrl-C in the terminal comes to this script alone, which passes it on once. A second one ends the
# controller without waiting for what is under way.
setsid "$creel" serve &
serve=$!
stopping=
stop() {
  stopping=1
  kill -TERM "$serve" 2>/dev/null || true
}
trap stop INT TERM HUP
for ((i = 0; ; i++)); do
  kill -0 "$serve" 2>/dev/null || { wait "$serve" && exit 0 || exit $?; }
  if [[ -n $stopping ]]; then wait "$serve" && exit 0 || exit $?; fi
  if ready; then break; fi
  # PostgreSQL's crash recovery takes as long as it takes; creel says so meanwhile.
  sleep 0.2
done

keyfile=$state/admin.key
email=${CREEL_ADMIN_EMAIL:-admin@creel.localhost}
key_works() {
  [[ -s $keyfile ]] && curl --silent --noproxy '*' --max-time 10 -H "Authorization: Bearer $(cat "$keyfile")" "$url/api/auth/session" | grep -q '"email"'
}
fresh_key=
if ! key_works; then
  "$creel" user list --json | grep -q "\"$email\"" || "$creel" user add --email "$email" --admin --plan enterprise --subscription active >/dev/null
  (umask 077 && "$creel" key create --email "$email" --name "run.sh $(date -u +%Y-%m-%dT%H:%M:%S)" >"$keyfile.new" && mv "$keyfile.new" "$keyfile")
  fresh_key=$(cat "$keyfile")
fi
export CREEL_URL=$url CREEL_API_KEY
CREEL_API_KEY=$(cat "$keyfile")

agents=$("$creel" agents list --json)
id=$(tr -d '\n' <<<"$agents" | tr '{' '\n' | sed -n '/"name": *"demo"/s/.*"id": *"\([0-9a-f]*\)".*/\1/p' | head -n 1)
if [[ -z $id ]]; then
  say "provisioning the agent 'demo' (template $template)"
  # One that was made, but does not run, has an id, too: what is wrong with it is shown.
  id=$({ "$creel" provision --name demo --template "$template" --json || true; } | tr -d '\n' | sed -n 's/.*"id": *"\([0-9a-f]\{16\}\)".*/\1/p')
  [[ -n $id ]] || { stop; wait "$serve" || true; fail "the agent could not be provisioned" "see the lines above; creel doctor says more"; }
fi

model_first=
if "$creel" agents show "$id" --json | grep -q '"template": *"openclaw"'; then
  model_first="And once it has a model to talk to (the README says how to give it one):
"
fi
cat <<END

Creel runs.
  API          $url            (Ctrl-C stops the controller; agents run on)
  agent        demo, id $id
  state        $state
  engine       ${DOCKER_HOST:-unix:///var/run/docker.sock}
  admin        $email, API key in $keyfile${fresh_key:+
  API key      $fresh_key   (shown this once)}

Try it:
  curl -s -H "Authorization: Bearer \$(cat $keyfile)" $url/api/agents
  curl -s -H "Authorization: Bearer \$(cat $keyfile)" $url/api/agents/$id
${model_first}  curl -s -H "Authorization: Bearer \$(cat $keyfile)" -H 'Content-Type: application/json' -d '{"message":"Hello!"}' $url/api/chat

END

# A signal interrupts wait; the controller's own end is what counts.
while kill -0 "$serve" 2>/dev/null; do wait "$serve" && code=0 || code=$?; done
wait "$serve" 2>/dev/null && code=0 || code=${code:-$?}
[[ -n $stopping ]] && say "controller stopped; agents run on. Start again with ./run.sh"
exit "$code"
