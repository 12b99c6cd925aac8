{{/* What both ends of a fleet are told: where the servers are, whose samples, and who one is. */}}
{{- define "vmafx.fleetEnv" -}}
{{- $fleet := include "vmafx.fleet" .root | fromYaml -}}
- name: VMAFX_FLEET_URL
  value: {{ $fleet.url | quote }}
- name: VMAFX_FLEET_TENANT
  value: {{ $fleet.tenant | quote }}
{{- if .keySecret }}
- name: VMAFX_FLEET_KEY
  value: /fleet/key.nk
{{- if hasPrefix "tls://" $fleet.url }}
- name: VMAFX_FLEET_CA
  value: /fleet/ca.pem
{{- end }}
{{- end }}
{{- end -}}

{{/* Of all keys in the Secret a container gets one. */}}
{{- define "vmafx.fleetMounts" -}}
- name: vmafx-fleet
  mountPath: /fleet/key.nk
  subPathExpr: {{ .key }}
  readOnly: true
{{- if hasPrefix "tls://" (include "vmafx.fleet" .root | fromYaml).url }}
- name: vmafx-fleet
  mountPath: /fleet/ca.pem
  subPath: ca.pem
  readOnly: true
{{- end }}
{{- end -}}

{{- define "vmafx.nodeFleetEnv" -}}
{{- $fleet := include "vmafx.fleet" . | fromYaml -}}
{{- if $fleet.url -}}
{{ include "vmafx.fleetEnv" (dict "root" . "keySecret" $fleet.keySecret) }}
- name: VMAFX_FLEET_NODE
  value: {{ $fleet.node | quote }}
- name: VMAFX_FLEET_QUOTA
  value: {{ $fleet.quota | quote }}
{{- with $fleet.registryUrl }}
- name: VMAFX_FLEET_REGISTRY_URL
  value: {{ . | quote }}
{{- end }}
{{- end -}}
{{- end -}}

{{- define "vmafx.nodeFleetMounts" -}}
{{- $fleet := include "vmafx.fleet" . | fromYaml -}}
{{- if and $fleet.url $fleet.keySecret -}}
{{ include "vmafx.fleetMounts" (dict "root" . "key" (printf "%s.nk" $fleet.node)) }}
{{- end -}}
{{- end -}}

{{- define "vmafx.poolName" -}}
{{- printf "vmafx-pool-%s" .Release.Name | trunc 58 | trimSuffix "-" -}}
{{- end -}}

{{- define "vmafx.poolLabels" -}}
vmafx-pool: {{ include "vmafx.poolName" . }}
app.kubernetes.io/name: vmafx-sidecar
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ include "vmafx.appVersion" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What is sidecar.trainer for a pool, as YAML. A pool has no socket. */}}
{{- define "vmafx.poolTrainer" -}}
{{- $trainer := deepCopy .Values.sidecar.trainer -}}
{{- $_ := set $trainer "settings" (mergeOverwrite (omit $trainer.settings "socket" "socketMode") .Values.pool.settings) -}}
{{- $_ := set $trainer "registry" .Values.pool.registry -}}
{{- $_ := set $trainer "resources" .Values.pool.resources -}}
{{- toYaml $trainer -}}
{{- end -}}
