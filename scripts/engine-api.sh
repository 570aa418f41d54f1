# Sourced by the scripts that talk to a Docker engine (bash): the engine's HTTP API through curl alone, so that no docker
# CLI is needed. The engine is the one of DOCKER_HOST (unix://, or tcp:// with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH), else
# the standard socket. Paths carry no version on purpose: the engine then speaks its newest, and what is used here is older
# than API 1.24.

# Fills engine_curl, the curl command for this engine. Returns 1 with the reason in engine_error if DOCKER_HOST makes no sense.
engine_connect() {
  local host=${DOCKER_HOST:-unix:///var/run/docker.sock}
  engine_error=
  engine_curl=(curl --silent --show-error --noproxy '*' --connect-timeout 10)
  case $host in
    unix://*)
      engine_curl+=(--unix-socket "${host#unix://}")
      engine_base=http://engine
      ;;
    tcp://* | http://* | https://*)
      engine_base=http://${host#*://}
      if [[ -n ${DOCKER_TLS_VERIFY:-} || $host == https://* ]]; then
        local certificates=${DOCKER_CERT_PATH:-$HOME/.docker}
        engine_base=https://${host#*://}
        engine_curl+=(--cacert "$certificates/ca.pem" --cert "$certificates/cert.pem" --key "$certificates/key.pem")
      fi
      ;;
    *)
      engine_error="DOCKER_HOST=$host: only unix://, tcp:// and https:// are understood"
      return 1
      ;;
  esac
}

# engine_request METHOD PATH [curl option...]: the body on stdout; returns 22 when the engine answers 400 or more (the body,
# which says why, is printed all the same), another number when there is no answer.
engine_request() {
  local method=$1 path=$2
  shift 2
  "${engine_curl[@]}" --fail-with-body --request "$method" "$@" "$engine_base$path"
}

# engine_answers: is there an engine? In engine_error is why not.
engine_answers() {
  engine_connect || return 1
  local output
  if ! output=$(engine_request GET /_ping --max-time 10 2>&1); then
    engine_error=$output
    return 1
  fi
}

# json_string NAME: the value of the first "NAME":"…" on stdin. Enough for engine answers whose field is known to be a plain
# string without quotes in it (ids, hashes, paths); not a JSON parser.
json_string() { tr -d '\n' | sed -n 's/.*"'"$1"'": *"\([^"]*\)".*/\1/p'; }

url_encode() {
  local LC_ALL=C text=$1 out= c i
  for ((i = 0; i < ${#text}; i++)); do
    c=${text:i:1}
    case $c in
      [a-zA-Z0-9._~-]) out+=$c ;;
      *) printf -v c '%%%02X' "'$c" && out+=$c ;;
    esac
  done
  printf '%s' "$out"
}

# image_label REFERENCE LABEL: the label's value, nothing if there is no such image or label.
image_label() {
  { engine_request GET "/images/$(url_encode "$1")/json" --max-time 30 2>/dev/null || true; } | json_string "$2"
}

# import_image REFERENCE CHANGE... <TAR: makes an image of one layer out of a root filesystem; each CHANGE is one Dockerfile
# instruction. The engine reports a failure inside a 200 stream, hence the look at the body.
import_image() {
  local reference=$1 change query answer
  shift
  # The last colon parts the tag off, unless it belongs to a registry's port.
  local name=${reference%:*} tag=${reference##*:}
  if [[ $name == "$reference" || $tag == */* ]]; then name=$reference tag=latest; fi
  query="fromSrc=-&repo=$(url_encode "$name")&tag=$(url_encode "$tag")"
  for change in "$@"; do query+="&changes=$(url_encode "$change")"; done
  if ! answer=$(engine_request POST "/images/create?$query" --header 'Content-Type: application/x-tar' \
      --header 'Expect:' --upload-file - 2>&1) || [[ $answer == *'"error"'* ]]; then
    engine_error=$(printf '%s' "$answer" | tail -c 500)
    return 1
  fi
}
