{{/* For `containers` of a node's pod: the sidecar, unless it is an init container. */}}
{{- define "vmafx.sidecarContainer" -}}
{{- if and (include "vmafx.trainer" . | fromYaml).enabled (not (include "vmafx.isNative" .)) -}}
{{ include "vmafx.container" . }}
{{- end -}}
{{- end -}}

{{/* For `initContainers` of a node's pod: the sidecar, where the cluster has native sidecars. */}}
{{- define "vmafx.sidecarInitContainer" -}}
{{- if and (include "vmafx.trainer" . | fromYaml).enabled (include "vmafx.isNative" .) -}}
{{ include "vmafx.container" . }}
  restartPolicy: Always
{{- end -}}
{{- end -}}

{{/* The kubelet kills it only when what restarts single processes inside has failed; a node never waits for it. */}}
{{- define "vmafx.container" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- if not (hasPrefix (printf "%s/" $trainer.modelsMountPath) $trainer.settings.checkpointDir) -}}
{{- fail (printf "settings.checkpointDir %s lies outside of modelsMountPath %s" $trainer.settings.checkpointDir $trainer.modelsMountPath) -}}
{{- end -}}
- name: vmafx-sidecar
  image: {{ include "vmafx.image" . }}
  imagePullPolicy: {{ $trainer.image.pullPolicy }}
  args: [run]
  env:
    {{- include "vmafx.sidecarEnv" . | trim | nindent 4 }}
  ports:
    - name: vmafx-sidecar
      containerPort: 9091
  livenessProbe:
    httpGet: {path: /healthz, port: vmafx-sidecar}
    initialDelaySeconds: 30
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  readinessProbe:
    httpGet: {path: /readyz, port: vmafx-sidecar}
    periodSeconds: 5
    timeoutSeconds: 5
    failureThreshold: 3
  resources:
    {{- include "vmafx.resources" . | nindent 4 }}
  securityContext:
    {{- include "vmafx.securityContext" . | nindent 4 }}
  volumeMounts:
    - name: vmafx-socket
      mountPath: {{ dir $trainer.settings.socket }}
    - name: vmafx-models
      mountPath: {{ $trainer.modelsMountPath }}
    - name: vmafx-shared-memory
      mountPath: /dev/shm
{{- end -}}

{{- define "vmafx.image" -}}
{{- $image := (include "vmafx.trainer" . | fromYaml).image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default (include "vmafx.appVersion" .) $image.tag }}
{{- end -}}
{{- end -}}

{{/* Whole numbers without an exponent, which YAML gives to large ones. */}}
{{- define "vmafx.sidecarEnv" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- with $trainer.baseModelPath -}}
- name: VMAFX_BASE_MODEL_PATH
  value: {{ . | quote }}
{{ end -}}
{{- if $trainer.gpu.enabled -}}
- name: VMAFX_SIDECAR_CUDA
  value: "1"
{{ end -}}
{{- range $name, $value := $trainer.settings -}}
- name: VMAFX_SIDECAR_{{ $name | snakecase | upper }}
  {{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}
  value: {{ int64 $value | quote }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{ end -}}
{{- end -}}

{{- define "vmafx.resources" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{- $resources := $trainer.resources -}}
{{- if $trainer.gpu.enabled -}}
{{- $gpu := dict "limits" (dict $trainer.gpu.resource (int64 $trainer.gpu.count)) -}}
{{- $resources = mergeOverwrite $gpu $resources -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "vmafx.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}
