{{- define "creel.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "creel.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "creel.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "creel.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "creel.selectorLabels" -}}
app.kubernetes.io/name: {{ include "creel.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "creel.postgresLabels" -}}
app.kubernetes.io/name: {{ include "creel.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: postgres
{{- end }}

{{- define "creel.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: creel
{{- end }}

{{- define "creel.labels" -}}
{{ include "creel.commonLabels" . }}
{{ include "creel.selectorLabels" . }}
{{- end }}

{{- define "creel.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "creel.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "creel.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* What no schema can say: values that do not go together, each with what to do about it. */}}
{{- define "creel.check" -}}
{{- if not .Values.masterKey.existingSecret }}
{{- fail "masterKey.existingSecret is missing: secrets are sealed with a key of yours. Make one: kubectl create secret generic creel-master-key --from-literal=master.key=\"$(head -c 32 /dev/urandom | base64)\", and set masterKey.existingSecret=creel-master-key" }}
{{- end }}
{{- if and .Values.database.existingSecret .Values.database.trial.enabled }}
{{- fail "database.existingSecret and database.trial.enabled exclude each other: set one of them" }}
{{- end }}
{{- if not (or .Values.database.existingSecret .Values.database.trial.enabled) }}
{{- fail "no database: set database.existingSecret to a Secret with a postgres:// URL, or database.trial.enabled=true to try Creel" }}
{{- end }}
{{- if and .Values.engine.host .Values.engine.dind.enabled }}
{{- fail "engine.host and engine.dind.enabled exclude each other: set one of them" }}
{{- end }}
{{- if not (or .Values.engine.host .Values.engine.dind.enabled) }}
{{- fail "no Docker engine: set engine.host (tcp://…, with engine.tls.existingSecret), or engine.dind.enabled=true for one beside Creel" }}
{{- end }}
{{- if and .Values.engine.host (not .Values.engine.tls.existingSecret) }}
{{- fail "engine.tls.existingSecret is missing: an engine without mutual TLS gives root to whoever reaches it. Put ca.pem, cert.pem and key.pem into a Secret" }}
{{- end }}
{{- if and .Values.engine.host (not .Values.engine.publishAddress) }}
{{- fail "engine.publishAddress is missing: the address of the engine's machine, in a private network, at which pods of this cluster reach agents (none: pods have a route to the engine's bridges)" }}
{{- end }}
{{- if and .Values.engine.publishAddress (not .Values.engine.host) }}
{{- fail "engine.publishAddress goes with engine.host: the engine beside Creel needs none" }}
{{- end }}
{{- if and .Values.engine.dind.enabled (gt (int .Values.replicaCount) 1) }}
{{- fail "engine.dind.enabled wants replicaCount=1: each replica would have an engine of its own, without the others' agents" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.host is missing: the name of the API, creel.example.com" }}
{{- end }}
{{- if and .Values.ingress.agentsDomain (hasKey .Values.settings "AGENTS_DOMAIN") }}
{{- fail "ingress.agentsDomain and settings.AGENTS_DOMAIN say the same: set one of them" }}
{{- end }}
{{- end }}

{{/* Environment of every container that runs creel. */}}
{{- define "creel.env" -}}
- name: CREEL_LISTEN
  value: "0.0.0.0:8080"
- name: CREEL_GATEWAY_LISTEN
  value: "0.0.0.0:10000"
- name: CREEL_LOG
  value: json
- name: CREEL_STATE_DIR
  value: /var/lib/creel
- name: CREEL_MASTER_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.masterKey.existingSecret }}
      key: {{ .Values.masterKey.key }}
{{- if .Values.database.trial.enabled }}
- name: CREEL_TRIAL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "creel.fullname" . }}-postgres
      key: password
- name: DATABASE_URL
  value: "postgres://creel:$(CREEL_TRIAL_PASSWORD)@{{ include "creel.fullname" . }}-postgres/creel"
{{- else }}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.existingSecret }}
      key: {{ .Values.database.key }}
{{- end }}
{{- if .Values.engine.host }}
- name: DOCKER_HOST
  value: {{ .Values.engine.host | quote }}
- name: DOCKER_TLS_VERIFY
  value: "true"
- name: DOCKER_CERT_PATH
  value: /etc/creel/engine
- name: CREEL_PUBLISH_ADDRESS
  value: {{ .Values.engine.publishAddress | quote }}
{{- else }}
- name: DOCKER_HOST
  value: unix:///run/engine/docker.sock
{{- end }}
{{- if .Values.tls.existingSecret }}
- name: CREEL_TLS_CERT
  value: /etc/creel/tls/tls.crt
- name: CREEL_TLS_KEY
  value: /etc/creel/tls/tls.key
{{- end }}
{{- /* What people are told, as the ingress has it; what settings say wins. */}}
{{- if .Values.ingress.enabled }}
{{- $secure := ternary "s" "" (gt (len .Values.ingress.tls) 0) }}
{{- $told := dict "CREEL_URL" (printf "http%s://%s" $secure .Values.ingress.host) }}
{{- with .Values.ingress.agentsDomain }}
{{- $_ := set $told "AGENTS_DOMAIN" . }}
{{- $_ := set $told "AGENTS_URL_SCHEME" (printf "http%s" $secure) }}
{{- end }}
{{- with .Values.ingress.gatewayHost }}
{{- $_ := set $told "CREEL_GATEWAY_URL" (printf "ws%s://%s" $secure .) }}
{{- end }}
{{- range $name, $value := $told }}
{{- if not (hasKey $.Values.settings $name) }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $from := .Values.secretSettings }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name }}
      key: {{ $from.key }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
