{{/* For `containers` of a node's pod: the sidecar, unless it is an init container of the same pod. */}}
{{- define "vmafx.sidecarContainer" -}}
{{- if (include "vmafx.trainer" . | fromYaml).enabled -}}
{{- if include "vmafx.isLooking" . -}}
- name: {{ include "vmafx.plainMark" . }}
{{- else if not (include "vmafx.lookAtPods" . | fromYaml).native -}}
{{ include "vmafx.container" . }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* For `initContainers` of a node's pod: the sidecar, where the cluster has native sidecars. */}}
{{- define "vmafx.sidecarInitContainer" -}}
{{- if and (include "vmafx.trainer" . | fromYaml).enabled (include "vmafx.isNative" .) -}}
{{- if include "vmafx.isLooking" . -}}
- name: {{ include "vmafx.nativeMark" . }}
{{- else -}}
{{- $_ := include "vmafx.lookAtPods" . -}}
{{ include "vmafx.container" . }}
  restartPolicy: Always
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
No readiness probe: it would count for the whole pod, and take the encoder out of service. The kubelet kills the
container only when what restarts single processes inside has failed.
*/}}
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
    {{- with include "vmafx.nodeFleetEnv" . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $trainer.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $trainer.registry.environmentSecret }}
  envFrom:
    - secretRef:
        name: {{ . }}
  {{- end }}
  ports:
    - name: vmafx-sidecar
      containerPort: 9091
  {{- include "vmafx.probe" . | nindent 2 }}
  resources:
    {{- include "vmafx.resources" . | nindent 4 }}
  securityContext:
    {{- include "vmafx.securityContext" . | nindent 4 }}
  volumeMounts:
    - name: vmafx-socket
      mountPath: {{ dir $trainer.settings.socket }}
    - name: vmafx-models
      mountPath: {{ $trainer.modelsMountPath }}
      subPathExpr: {{ $trainer.models.folder }}
    - name: vmafx-shared-memory
      mountPath: /dev/shm
    {{- if include "vmafx.baseModelConfigMap" . }}
    - name: vmafx-base-model
      mountPath: {{ include "vmafx.baseModelMountPath" . }}
      readOnly: true
    {{- end }}
    {{- if $trainer.registry.dockerConfigSecret }}
    - name: vmafx-registry
      mountPath: /registry-credentials
      readOnly: true
    {{- end }}
    {{- with include "vmafx.nodeFleetMounts" . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- if $trainer.registry.signKeySecret }}
    - name: vmafx-registry-sign-key
      mountPath: /registry-sign-key
      readOnly: true
    {{- end }}
    {{- if $trainer.registry.publicKeyConfigMap }}
    - name: vmafx-registry-public-key
      mountPath: /registry-public-key
      readOnly: true
    {{- end }}
    {{- with $trainer.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "vmafx.probe" -}}
livenessProbe:
  httpGet: {path: /healthz, port: vmafx-sidecar}
  initialDelaySeconds: 30
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{- define "vmafx.image" -}}
{{- $image := (include "vmafx.trainer" . | fromYaml).image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default (include "vmafx.appVersion" .) $image.tag }}
{{- end -}}
{{- end -}}

{{/* The folder of each pod has its name from here. */}}
{{- define "vmafx.podNameEnv" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end -}}

{{/* Whole numbers without an exponent, which YAML gives to large ones. */}}
{{- define "vmafx.sidecarEnv" -}}
{{- $trainer := include "vmafx.trainer" . | fromYaml -}}
{{ include "vmafx.podNameEnv" . }}
{{ if not $trainer.settings.instance -}}
- name: VMAFX_SIDECAR_INSTANCE
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
{{ end -}}
{{- with include "vmafx.baseModelPath" . -}}
- name: VMAFX_BASE_MODEL_PATH
  value: {{ . | quote }}
{{ end -}}
{{- with $trainer.registry.url -}}
- name: VMAFX_REGISTRY_URL
  value: {{ . | quote }}
{{ end -}}
{{- if $trainer.registry.dockerConfigSecret -}}
- name: DOCKER_CONFIG
  value: /registry-credentials
{{ end -}}
{{- if $trainer.registry.signKeySecret -}}
- name: VMAFX_REGISTRY_SIGN_KEY
  value: /registry-sign-key/key.pem
{{ end -}}
{{- if $trainer.registry.publicKeyConfigMap -}}
- name: VMAFX_REGISTRY_PUBLIC_KEY
  value: /registry-public-key/key.pub
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
{{- $user := int64 (include "vmafx.trainer" . | fromYaml).runAsUser -}}
runAsNonRoot: true
{{- if $user }}
runAsUser: {{ $user }}
runAsGroup: {{ $user }}
{{- end }}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}
